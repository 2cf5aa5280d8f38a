"""Whose state, which passphrase, which home: the user's own choice is kept, secrets are never made unreadable."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from toolchain import ensure, session
from toolchain.console import ToolchainError
from toolchain.places import Places


@pytest.fixture
def places(tmp_path: Path) -> Places:
    found = Places(root=tmp_path / "clone", cache=tmp_path / "cache")
    found.logs.mkdir(parents=True)
    return found


@pytest.fixture
def home(tmp_path: Path) -> dict[str, str]:
    """Environment of a user who has never used Pulumi."""
    return {"HOME": str(tmp_path / "home"), "PATH": "/usr/bin:/bin"}


def log_in(home: dict[str, str], current: str) -> None:
    folder = Path(home["HOME"]) / ".pulumi"
    folder.mkdir(parents=True)
    (folder / "credentials.json").write_text(json.dumps({"current": current}))


def test_first_run_makes_state_and_a_private_passphrase(places: Places, home: dict[str, str]) -> None:
    session.ensure_state(places, home)
    first = places.passphrase.read_text()
    assert len(first.strip()) >= 32
    assert places.passphrase.stat().st_mode & 0o777 == 0o600
    assert places.state.is_dir()
    places.passphrase.chmod(0o644)
    session.ensure_state(places, home)
    assert places.passphrase.read_text() == first
    assert places.passphrase.stat().st_mode & 0o777 == 0o600


def test_variables_point_to_our_state(places: Places, home: dict[str, str]) -> None:
    session.ensure_state(places, home)
    got = session.variables(places, Path("/cli"), home)
    assert got == {
        "PATH": f"{places.venv_bin}:/cli:/usr/bin:/bin",
        "PULUMI_SKIP_UPDATE_CHECK": "true",
        "PULUMI_HOME": str(places.pulumi_home),
        "PULUMI_BACKEND_URL": f"file://{places.state}",
        "PULUMI_CONFIG_PASSPHRASE_FILE": str(places.passphrase),
    }
    assert session.variables(places, Path("/cli"), {**home, **got}) == got


def test_lost_passphrase_with_state_is_refused(places: Places, home: dict[str, str]) -> None:
    session.ensure_state(places, home)
    stack = places.state / ".pulumi" / "stacks" / "cdc" / "dev.json"
    stack.parent.mkdir(parents=True)
    stack.write_text("{}")
    places.passphrase.unlink()
    for attempt in (
        lambda: session.ensure_state(places, home),
        lambda: session.variables(places, Path("/cli"), home),
    ):
        with pytest.raises(
            ToolchainError, match=rf"{places.passphrase} is missing, and {stack} holds secrets.*put the file back"
        ):
            attempt()
    assert not places.passphrase.exists()
    session.ensure_state(places, {**home, "PULUMI_CONFIG_PASSPHRASE": "mine"})
    assert not places.passphrase.exists()


@pytest.mark.parametrize(
    "own",
    [
        {"PULUMI_BACKEND_URL": "s3://bucket"},
        {"PULUMI_ACCESS_TOKEN": "pul-x"},
        {"PULUMI_HOME": "/elsewhere", "PULUMI_BACKEND_URL": "file:///other"},
    ],
)
def test_users_own_backend_is_kept(places: Places, home: dict[str, str], own: dict[str, str]) -> None:
    session.ensure_state(places, {**home, **own})
    assert not places.passphrase.exists()
    assert not places.state.exists()
    got = session.variables(places, Path("/cli"), {**home, **own})
    assert sorted(got) == ["PATH", "PULUMI_HOME", "PULUMI_SKIP_UPDATE_CHECK"]
    assert got["PULUMI_HOME"] == own.get("PULUMI_HOME", f"{home['HOME']}/.pulumi")


def test_login_is_kept_and_a_logout_is_none(places: Places, home: dict[str, str]) -> None:
    log_in(home, "https://api.pulumi.com")
    assert session.logged_in(places, home) == "pulumi login https://api.pulumi.com"
    credentials = Path(home["HOME"]) / ".pulumi" / "credentials.json"
    for text in ('{"current": ""}', "{}", "broken", "[]", json.dumps({"current": session.state_url(places)})):
        credentials.write_text(text)
        assert session.logged_in(places, home) == ""


@pytest.mark.parametrize("own", [{"PULUMI_CONFIG_PASSPHRASE": ""}, {"PULUMI_CONFIG_PASSPHRASE_FILE": "/mine"}])
def test_users_own_passphrase_is_kept(places: Places, home: dict[str, str], own: dict[str, str]) -> None:
    session.ensure_state(places, {**home, **own})
    assert not places.passphrase.exists()
    assert "PULUMI_CONFIG_PASSPHRASE_FILE" not in session.variables(places, Path("/cli"), {**home, **own})


def test_exports_survive_odd_names() -> None:
    text = session.exports({"A": "it's $HOME", "PATH": "/a b:/c"})
    done = subprocess.run(
        ["sh", "-c", f'{text}\nprintf "%s|%s" "$A" "$PATH"'], capture_output=True, text=True, check=True
    )
    assert done.stdout == "it's $HOME|/a b:/c"


def test_env_before_ensure_names_the_cure(places: Places, home: dict[str, str]) -> None:
    with pytest.raises(ToolchainError, match=r"isn't ready; run: toolchain/bootstrap.sh ensure"):
        ensure.pulumi_variables(places, home)
    places.record.write_text(json.dumps({"programs": "/gone"}))
    with pytest.raises(ToolchainError, match=r"isn't ready"):
        ensure.pulumi_variables(places, home)


def test_unknown_mode_is_refused(places: Places) -> None:
    with pytest.raises(ToolchainError, match=r"CDC_TOOLCHAIN='fast' is not one of auto, download, build"):
        ensure.workshop(places, {"CDC_TOOLCHAIN": "fast"})
