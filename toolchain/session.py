"""The environment that Pulumi runs in: whose state, passphrase and home; a user's own are kept."""

from __future__ import annotations

import json
import os
import secrets
import shlex
from collections.abc import Mapping
from pathlib import Path

from toolchain.console import ToolchainError, say
from toolchain.places import Places

PASSPHRASE = "PULUMI_CONFIG_PASSPHRASE"  # noqa: S105 - the name of a variable
PASSPHRASE_FILE = "PULUMI_CONFIG_PASSPHRASE_FILE"  # noqa: S105


def pulumi_home(places: Places, environ: Mapping[str, str]) -> Path:
    """PULUMI_HOME: the user's where they set one or have logged in, else a folder of the cache."""
    if explicit := environ.get("PULUMI_HOME"):
        return Path(explicit)
    return _user_home(environ) if logged_in(places, environ) else places.pulumi_home


def logged_in(places: Places, environ: Mapping[str, str]) -> str:
    """Where the user keeps state by their own choice, as words for a message; empty when it is our local folder."""
    backend = environ.get("PULUMI_BACKEND_URL", "")
    if backend and backend != state_url(places):
        return f"PULUMI_BACKEND_URL={backend}"
    if not backend and environ.get("PULUMI_ACCESS_TOKEN"):
        return "PULUMI_ACCESS_TOKEN"
    if backend:
        return ""
    credentials = _user_home(environ) / "credentials.json"
    if credentials.parent == places.pulumi_home or not credentials.exists():
        return ""
    try:
        current = json.loads(credentials.read_text()).get("current", "")
    except (ValueError, AttributeError):
        current = ""
    return f"pulumi login {current}" if current and current != state_url(places) else ""


def state_url(places: Places) -> str:
    """Pulumi's name for the local state folder."""
    return f"file://{places.state}"


def ensure_state(places: Places, environ: Mapping[str, str] = os.environ) -> None:
    """Make state folder and passphrase on a first run.

    Raises:
        ToolchainError: there is state and the passphrase that opens it is gone.
    """
    if own := logged_in(places, environ):
        say(f"state: {own} (your own choice is kept)")
        return
    places.state.mkdir(parents=True, exist_ok=True)
    if _own_passphrase(places, environ):
        return
    if not places.passphrase.exists():
        _refuse_lost_passphrase(places)
        _write_passphrase(places.passphrase)
        say(f"made the passphrase file {places.passphrase}; keep it with the state: without it secrets can't be read")
    elif places.passphrase.stat().st_mode & 0o077:
        places.passphrase.chmod(0o600)


def variables(places: Places, programs: Path, environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Variables that differ from ``environ`` for running pulumi; ``programs`` is the CLI's folder.

    Raises:
        ToolchainError: there is state and the passphrase that opens it is gone.
    """
    lead = [str(places.venv_bin), str(programs)]
    rest = [folder for folder in environ.get("PATH", os.defpath).split(os.pathsep) if folder not in lead]
    changed = {
        "PATH": os.pathsep.join([*lead, *rest]),
        "PULUMI_SKIP_UPDATE_CHECK": "true",
        "PULUMI_HOME": str(pulumi_home(places, environ)),
    }
    if logged_in(places, environ):
        return changed
    changed["PULUMI_BACKEND_URL"] = state_url(places)
    if not _own_passphrase(places, environ):
        if not places.passphrase.exists():
            _refuse_lost_passphrase(places)
        changed[PASSPHRASE_FILE] = str(places.passphrase)
    return changed


def exports(changed: Mapping[str, str]) -> str:
    """Shell lines that set the variables."""
    return "\n".join(f"export {name}={shlex.quote(value)}" for name, value in changed.items())


def _user_home(environ: Mapping[str, str]) -> Path:
    return Path(environ.get("PULUMI_HOME") or Path(environ.get("HOME") or "~").expanduser() / ".pulumi")


def _own_passphrase(places: Places, environ: Mapping[str, str]) -> bool:
    named = environ.get(PASSPHRASE_FILE, "")
    return PASSPHRASE in environ or bool(named and Path(named) != places.passphrase)


def _refuse_lost_passphrase(places: Places) -> None:
    stacks = sorted((places.state / ".pulumi" / "stacks").rglob("*.json"))
    if stacks:
        raise ToolchainError(
            f"{places.passphrase} is missing, and {stacks[0]} holds secrets encrypted with it; put the file back "
            f"from a backup, or set {PASSPHRASE}; if it is lost for good: remove what the stack made by hand "
            f"(docker rm, docker volume rm) and delete {places.state}"
        )


def _write_passphrase(path: Path) -> None:
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    partial.unlink(missing_ok=True)
    handle = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w") as out:
        out.write(secrets.token_urlsafe(32) + "\n")
        out.flush()
        os.fsync(out.fileno())
    partial.rename(path)
