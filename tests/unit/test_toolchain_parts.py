"""How CLI and plugins are found, downloaded or built: bounded in time, checked, whole or not there."""

from __future__ import annotations

import hashlib
import http.server
import io
import os
import re
import shutil
import socket
import subprocess
import tarfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from components import versions
from toolchain import download, gobuild, golang, pulumi_parts
from toolchain.console import ToolchainError
from toolchain.download import Download, DownloadError
from toolchain.golang import Go
from toolchain.lock import locked
from toolchain.places import ROOT, Places
from toolchain.preflight import Machine
from toolchain.pulumi_parts import CLI, HOST, PLUGINS, Workshop

MACHINE = Machine(system="linux", architecture="amd64")
RANDOM = PLUGINS["random"]


@pytest.fixture
def places(tmp_path: Path) -> Places:
    found = Places(root=tmp_path / "clone", cache=tmp_path / "cache")
    found.logs.mkdir(parents=True)
    for part in (CLI, HOST, *PLUGINS.values()):
        module = found.root / "toolchain" / "go" / part.name
        module.mkdir(parents=True)
        (module / "go.mod").write_text(f"module {part.name}\n")
        (module / "go.sum").write_text("")
    return found


@pytest.fixture
def silence() -> Iterator[str]:
    """Address of a socket that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


@pytest.fixture
def files(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """Address and folder of a file server."""
    folder = tmp_path / "served"
    folder.mkdir()

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments: object, **named: object) -> None:
            super().__init__(*arguments, directory=str(folder), **named)  # type: ignore[arg-type]

        def log_message(self, *arguments: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}", folder
        server.shutdown()


def fake_go(folder: Path, script: str) -> Go:
    """A go command that lists packages as present and builds with ``script`` ($out is the -o argument)."""
    command = folder / "go"
    command.write_text(
        "#!/bin/sh\n"
        'shift 2; verb=$1; [ "$verb" = list ] && exit 0\n'
        'while [ $# -gt 0 ]; do [ "$1" = -o ] && out=$2; shift; done\n' + script + "\n"
    )
    command.chmod(0o755)
    return Go(command=command, version="1.26.0", environ=dict(os.environ))


def test_silent_host_is_left_within_the_deadline(silence: str) -> None:
    started = time.monotonic()
    assert download.reachable(f"{silence}/x", 0.5).startswith(f"{silence}/x: ")
    assert time.monotonic() - started < 3


def test_silent_host_is_asked_once_and_then_built_from_packages(
    silence: str, places: Places, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "PROBE_SECONDS", 0.5)
    shop = workshop(places, "auto")
    assert not shop.may_download(f"{silence}/cli", "Pulumi CLI 1")
    assert "Pulumi CLI 1 can't be downloaded here" in capsys.readouterr().err
    started = time.monotonic()
    assert not shop.may_download(f"{silence}/plugin", "plugin")
    assert time.monotonic() - started < 0.2


def test_only_downloads_wanted_and_none_answers(places: Places) -> None:
    with pytest.raises(ToolchainError, match=r"Pulumi CLI 1 can't be downloaded: .*unset CDC_TOOLCHAIN"):
        workshop(places, "download").may_download("http://127.0.0.1:9/x", "Pulumi CLI 1")
    assert not workshop(places, "build").may_download("http://127.0.0.1:9/x", "Pulumi CLI 1")


def test_deadline_covers_work_that_never_ends() -> None:
    with pytest.raises(DownloadError, match=r"name lookup: no answer within 0.1 s"):
        download.within(0.1, "name lookup", threading.Event().wait)
    with pytest.raises(KeyError):
        download.within(1, "x", lambda: versions.UPSTREAM_IMAGES["missing"])


def served(files: tuple[str, Path], listed: str | None = None) -> Download:
    url, folder = files
    (folder / "a.tar.gz").write_bytes(b"archive")
    digest = listed or hashlib.sha256(b"archive").hexdigest()
    (folder / "sums.txt").write_text(f"{'0' * 64}  other\n{digest}  a.tar.gz\n")
    return Download(url=f"{url}/a.tar.gz", checksums=(f"{url}/none.txt", f"{url}/sums.txt"))


def test_download_that_matches_its_published_checksum(files: tuple[str, Path], tmp_path: Path) -> None:
    download.fetch(served(files), tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == b"archive"


def test_download_with_a_wrong_checksum_is_refused(files: tuple[str, Path], tmp_path: Path) -> None:
    with pytest.raises(ToolchainError, match=r"a.tar.gz from .* has the SHA-256 .* expected fff"):
        download.fetch(served(files, "f" * 64), tmp_path / "a")
    assert not (tmp_path / "a").exists()


def test_published_list_must_agree_with_ours(
    files: tuple[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "pinned", lambda name: "1" * 64)
    with pytest.raises(ToolchainError, match=r"from the published list has .* expected 111"):
        download.fetch(served(files), tmp_path / "a")


def test_download_without_any_checksum_is_refused(files: tuple[str, Path], tmp_path: Path) -> None:
    wanted = served(files)
    with pytest.raises(DownloadError, match=r"checksum of a.tar.gz can't be had: .*none.txt"):
        download.fetch(Download(url=wanted.url, checksums=wanted.checksums[:1]), tmp_path / "a")


def test_kept_checksums_are_found_by_name(tmp_path: Path) -> None:
    (tmp_path / "c").write_text("abc  one\ndef  two\n")
    assert download.pinned("two", tmp_path / "c") == "def"
    assert download.pinned("three", tmp_path / "c") == ""
    assert download.pinned("three", tmp_path / "none") == ""


def test_unpacked_folder_appears_whole(tmp_path: Path) -> None:
    archive, target = tmp_path / "a.tar", tmp_path / "target"
    with tarfile.open(archive, "w") as tar:
        entry = tarfile.TarInfo("pulumi/pulumi")
        entry.size = 2
        tar.addfile(entry, io.BytesIO(b"hi"))
    (tmp_path / ".target.partial").mkdir()
    download.unpack(archive, target, top="pulumi")
    assert (target / "pulumi").read_text() == "hi"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.tar", "target"]


def workshop(places: Places, mode: str, go: Go | None = None) -> Workshop:
    def no_go() -> Go:
        if go is None:
            raise AssertionError("go was asked for")
        return go

    return Workshop(places=places, machine=MACHINE, mode=mode, go=no_go, environ={"HOME": str(places.root)})


def test_hash_follows_modules_sources_and_machine(places: Places) -> None:
    module = RANDOM.module(places)
    first = gobuild.content_hash(RANDOM, places, MACHINE)
    (module / "notes.txt").write_text("x")
    assert gobuild.content_hash(RANDOM, places, MACHINE) == first
    seen = {first}
    for name in ("go.mod", "go.sum", "main.go"):
        with (module / name).open("a") as out:
            out.write("// x\n")
        seen.add(gobuild.content_hash(RANDOM, places, MACHINE))
    seen.add(gobuild.content_hash(RANDOM, places, Machine(system="linux", architecture="arm64")))
    assert len(seen) == 5


def test_build_is_made_once_and_kept(places: Places, tmp_path: Path) -> None:
    count = tmp_path / "count"
    go = fake_go(tmp_path, f'echo x >> {count}; echo program > "$out"')
    for _ in range(2):
        folder = gobuild.build(RANDOM, places=places, machine=MACHINE, go=lambda: go)
    assert (folder / RANDOM.program).read_text() == "program\n"
    assert count.read_text() == "x\n"


def test_failed_build_shows_its_end_and_the_next_run_goes_on(places: Places, tmp_path: Path) -> None:
    go = fake_go(tmp_path, "for i in 1 2 3; do echo line $i; done; echo 'main.go:7: undefined: x'; exit 1")
    with pytest.raises(ToolchainError) as error:
        gobuild.build(RANDOM, places=places, machine=MACHINE, go=lambda: go)
    text = str(error.value)
    assert "Pulumi plugin random" in text
    assert str(places.logs / "build-plugin-random.log") in text
    assert "main.go:7: undefined: x" in text
    assert "goes on from there" in text
    assert not gobuild.folder(RANDOM, places, MACHINE).exists()

    go = fake_go(tmp_path, 'echo program > "$out"')
    folder = gobuild.build(RANDOM, places=places, machine=MACHINE, go=lambda: go)
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


def test_build_that_was_cut_short_is_begun_anew(places: Places, tmp_path: Path) -> None:
    target = gobuild.folder(RANDOM, places, MACHINE)
    half = target.parent / f".{target.name}.partial"
    half.mkdir(parents=True)
    (half / RANDOM.program).write_text("half")
    go = fake_go(tmp_path, 'echo whole > "$out"')
    folder = gobuild.build(RANDOM, places=places, machine=MACHINE, go=lambda: go)
    assert (folder / RANDOM.program).read_text() == "whole\n"
    assert not half.exists()


@pytest.mark.skipif(not shutil.which("go"), reason="asks a real go command")
def test_silent_module_source_is_left_within_the_deadline(silence: str, places: Places) -> None:
    real = Path(shutil.which("go") or "")
    go = Go(command=real, version="", environ=golang.build_environ(places, {**os.environ, "GOPROXY": silence}))
    started = time.monotonic()
    with pytest.raises(ToolchainError, match=rf"GOPROXY: {silence}\) doesn't answer within 1 s; check the network"):
        gobuild.probe_source(go, CLI.module(places), 1)
    assert time.monotonic() - started < 10


@pytest.mark.skipif(not shutil.which("go"), reason="asks a real go command")
def test_module_source_that_refuses_is_named(files: tuple[str, Path], places: Places) -> None:
    real = Path(shutil.which("go") or "")
    environ = golang.build_environ(places, {**os.environ, "GOPROXY": files[0]})
    with pytest.raises(ToolchainError, match=rf"GOPROXY: {files[0]}\) refuses: .*404"):
        gobuild.probe_source(Go(command=real, version="", environ=environ), CLI.module(places))


def test_go_version_is_read(tmp_path: Path) -> None:
    command = tmp_path / "go"
    for said, version in (("go1.26.8", (1, 26, 8)), ("go1.19", (1, 19, 0)), ("nonsense", ())):
        command.write_text(f"#!/bin/sh\necho 'go version {said} linux/amd64'\n")
        command.chmod(0o755)
        assert golang.version_of(command) == version
    assert golang.version_of(tmp_path / "none") == ()


def test_old_go_fetches_the_pinned_toolchain(places: Places, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    new = golang.fetched(places, MACHINE)
    old = tmp_path / "go"
    answer = '{"Sum": "' + golang.PINNED_SUMS["linux-amd64"] + '"}'
    old.write_text(
        "#!/bin/sh\n[ \"$1\" = version ] && { echo 'go version go1.19.8 linux/amd64'; exit; }\n"
        f"mkdir -p {new}/bin\nprintf '#!/bin/sh\\necho go version go{golang.PINNED} x\\n' > {new}/bin/go\n"
        f"echo '{answer}'\n"
    )
    old.chmod(0o755)
    monkeypatch.setattr(golang, "candidates", lambda *_: [old])
    go = golang.ensure_go(places, MACHINE)
    assert (go.command, go.version) == (new / "bin" / "go", golang.PINNED)

    old.write_text(old.read_text().replace(golang.PINNED_SUMS["linux-amd64"], "h1:other="))
    with pytest.raises(ToolchainError, match="has the checksum h1:other=, not h1:"):
        golang.ensure_go(places, MACHINE)


def test_plugin_is_rebuilt_when_its_sources_change(places: Places) -> None:
    shop = workshop(places, "auto")
    folder = places.pulumi_home / "plugins" / f"resource-random-v{RANDOM.version}"
    assert pulumi_parts.find_plugin(shop, "random") == ""
    folder.mkdir(parents=True)
    (folder / RANDOM.program).touch()
    assert pulumi_parts.find_plugin(shop, "random") == "present"
    (folder / pulumi_parts.CONTENT_MARK).write_text(gobuild.content_hash(RANDOM, places, MACHINE))
    assert pulumi_parts.find_plugin(shop, "random") == "built"
    (RANDOM.module(places) / "main.go").write_text("package main")
    assert pulumi_parts.find_plugin(shop, "random") == ""
    (folder / pulumi_parts.CONTENT_MARK).unlink()
    folder.with_name(folder.name + ".partial").touch()
    assert pulumi_parts.find_plugin(shop, "random") == ""


def test_cli_on_path_is_used_only_in_the_pinned_version(
    places: Places, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "usr"
    folder.mkdir()
    for name in ("pulumi", "pulumi-language-python"):
        (folder / name).write_text("#!/bin/sh\necho v3.1.0\n")
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))
    assert pulumi_parts.find_cli(workshop(places, "auto")) is None
    (folder / "pulumi").write_text(f"#!/bin/sh\necho v{CLI.version}\n")
    assert pulumi_parts.find_cli(workshop(places, "auto")) == (folder, "present")
    (folder / "pulumi-language-python").unlink()
    assert pulumi_parts.find_cli(workshop(places, "auto")) is None


def test_second_run_waits_for_the_first(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    order: list[str] = []

    def other() -> None:
        with locked(tmp_path / "lock"):
            order.append("second")

    with locked(tmp_path / "lock"):
        thread = threading.Thread(target=other)
        thread.start()
        time.sleep(0.3)
        order.append("first")
    thread.join(5)
    assert order == ["first", "second"]
    assert f"another run (process {os.getpid()}) works on" in capsys.readouterr().err


def test_pinned_versions_agree() -> None:
    required = dict(re.findall(r"^([\w-]+)==(\S+)$", (ROOT / "requirements.txt").read_text(), re.MULTILINE))
    assert required["pulumi"] == versions.PULUMI_CLI
    assert required["pulumi-docker"] == versions.PLUGIN_DOCKER
    assert required["pulumi-random"] == versions.PLUGIN_RANDOM
    modules = ROOT / "toolchain" / "go"
    assert f"github.com/pulumi/pulumi/pkg/v3 v{versions.PULUMI_CLI} " in (modules / "cli" / "go.mod").read_text()
    host = (modules / "python-host" / "go.mod").read_text()
    assert f"github.com/pulumi/pulumi/sdk/v3 v{versions.PULUMI_PYTHON_HOST} " in host


@pytest.mark.parametrize("part", [CLI, HOST, *PLUGINS.values()], ids=lambda part: part.name)
def test_every_module_keeps_checksums(part: gobuild.GoPart) -> None:
    module = ROOT / "toolchain" / "go" / part.name
    kept = (module / "go.sum").read_text()
    assert len(re.findall(r" h1:[A-Za-z0-9+/]{43}=$", kept, re.MULTILINE)) == len(kept.splitlines()) > 100
    name, version = gobuild.PROBE_MODULE.split("@")
    assert f"{name} {version} h1:" in kept


def test_bootstrap_is_valid_shell() -> None:
    subprocess.run(["sh", "-n", str(ROOT / "toolchain" / "bootstrap.sh")], check=True)
