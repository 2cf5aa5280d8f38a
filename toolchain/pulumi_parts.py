"""Pulumi's CLI with its Python host, and the provider plugins: present, else downloaded, else built."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from components import versions
from toolchain import download, gobuild, session
from toolchain.console import ToolchainError, say, step
from toolchain.download import Download, DownloadError
from toolchain.gobuild import GoPart
from toolchain.golang import Go
from toolchain.places import Places
from toolchain.preflight import Machine

CLI = GoPart(
    name="cli",
    title="Pulumi CLI",
    version=versions.PULUMI_CLI,
    package="github.com/pulumi/pulumi/pkg/v3/cmd/pulumi",
    program="pulumi",
    minutes=4,
    linker_flags=f"-X github.com/pulumi/pulumi/sdk/v3/go/common/version.Version=v{versions.PULUMI_CLI}",
)
HOST = GoPart(
    name="python-host",
    title="Pulumi Python host",
    version=versions.PULUMI_PYTHON_HOST,
    package="github.com/pulumi/pulumi/sdk/v3/python/cmd/pulumi-language-python",
    program="pulumi-language-python",
    minutes=0.5,
)
SCRIPTS = ("python/cmd/pulumi-language-python-exec", "python/dist/pulumi-resource-pulumi-python")
"""Helper scripts inside the SDK's module that the CLI and host expect beside them."""
RELEASES = "https://get.pulumi.com/releases"
INSTALL_SECONDS = 300.0
CONTENT_MARK = ".cdc-content"
"""File beside a plugin built here: the hash of its sources; an installed official plugin has none."""


def _plugin(name: str, version: str, minutes: float) -> GoPart:
    return GoPart(
        name=f"plugin-{name}",
        title=f"Pulumi plugin {name}",
        version=version,
        package=".",
        program=f"pulumi-resource-{name}",
        minutes=minutes,
        linker_flags=f"-X main.version={version}",
    )


PLUGINS = {
    "docker": _plugin("docker", versions.PLUGIN_DOCKER, 3),
    "random": _plugin("random", versions.PLUGIN_RANDOM, 1),
}


@dataclass(frozen=True, kw_only=True)
class Workshop:
    """What every part needs to be made."""

    places: Places
    machine: Machine
    mode: str
    """``auto``: download where that answers, else build; ``download`` or ``build``: only that."""
    go: Callable[[], Go]
    environ: Mapping[str, str]
    silent: set[str] = field(default_factory=set)
    """Hosts that gave no answer in this run; they are not waited for again."""

    def may_download(self, url: str, what: str) -> bool:
        """Whether ``url`` answers from here; says so when not.

        Raises:
            ToolchainError: only downloads are wanted and it doesn't.
        """
        host = urlsplit(url).netloc
        if self.mode == "build" or host in self.silent:
            return False
        why = download.reachable(url)
        if why and "HTTP" not in why:
            self.silent.add(host)
        if why and self.mode == "download":
            raise ToolchainError(f"{what} can't be downloaded: {why}; unset CDC_TOOLCHAIN to have it built instead")
        if why:
            say(f"{what} can't be downloaded here ({why}); building it from packages")
        return not why


def official_cli(machine: Machine) -> Download:
    """The official archive of the pinned CLI for this machine."""
    processor = {"amd64": "x64", "arm64": "arm64"}[machine.architecture]
    archive = f"pulumi-v{CLI.version}-{machine.system}-{processor}.tar.gz"
    listed = f"pulumi-{CLI.version}-checksums.txt"
    return Download(
        url=f"{RELEASES}/sdk/{archive}",
        checksums=(
            f"https://github.com/pulumi/pulumi/releases/download/v{CLI.version}/{listed}",
            f"{RELEASES}/sdk/{listed}",
        ),
    )


def cli_version(command: str | Path) -> str:
    """Version that a pulumi command reports, without its v; empty if it can't be run."""
    try:
        done = subprocess.run(
            [str(command), "version"],
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
            env={**os.environ, "PULUMI_SKIP_UPDATE_CHECK": "true"},
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip().removeprefix("v") if done.returncode == 0 else ""


def find_cli(workshop: Workshop) -> tuple[Path, str] | None:
    """Folder of a CLI of the pinned version and how it came there, or None."""
    on_path = shutil.which("pulumi")
    cache = workshop.places.cache
    downloaded, built = cache / "pulumi" / f"v{CLI.version}-official", _assembled(workshop)
    if on_path and Path(on_path).resolve().parent not in (downloaded.resolve(), built.resolve()):
        beside = Path(on_path).resolve().parent / "pulumi-language-python"
        if cli_version(on_path) == CLI.version and (beside.exists() or shutil.which("pulumi-language-python")):
            return Path(on_path).parent, "present"
    for folder, source in ((downloaded, "downloaded"), (built, "built")):
        allowed = workshop.mode in ("auto", {"downloaded": "download", "built": "build"}[source])
        if allowed and cli_version(folder / "pulumi") == CLI.version:
            return folder, source
    return None


def make_cli(workshop: Workshop) -> tuple[Path, str]:
    """Download the CLI, or build it with the Python host; returns its folder and how it came there."""
    official = official_cli(workshop.machine)
    if workshop.may_download(official.url, f"Pulumi CLI {CLI.version}"):
        try:
            return _download_cli(workshop, official), "downloaded"
        except DownloadError as error:
            if workshop.mode == "download":
                raise
            say(f"{error}; building the Pulumi CLI from packages")
    return _build_cli(workshop), "built"


def find_plugin(workshop: Workshop, name: str) -> str:
    """How the plugin came to be there (``present``: not built here); empty if it isn't, or its sources changed."""
    part = PLUGINS[name]
    folder = _plugin_folder(workshop, name)
    if not (folder / part.program).exists() or folder.with_name(folder.name + ".partial").exists():
        return ""
    mark = folder / CONTENT_MARK
    if not mark.exists():
        return "present"
    return "built" if mark.read_text() == gobuild.content_hash(part, workshop.places, workshop.machine) else ""


def make_plugin(workshop: Workshop, name: str, cli: Path) -> str:
    """Install a plugin into Pulumi's home; returns how it came there."""
    part = PLUGINS[name]
    archive = f"pulumi-resource-{name}-v{part.version}-{workshop.machine.system}-{workshop.machine.architecture}.tar.gz"
    if workshop.may_download(f"{RELEASES}/plugins/{archive}", f"Pulumi plugin {name} {part.version}"):
        checksum = download.pinned(archive)
        try:
            _install(workshop, cli, name, part.version, *(["--checksum", checksum] if checksum else []))
        except ToolchainError as error:
            if workshop.mode == "download":
                raise
            say(f"{error}; building it from packages")
        else:
            return "downloaded"
    folder = gobuild.build(part, places=workshop.places, machine=workshop.machine, go=workshop.go)
    _install(workshop, cli, name, part.version, "--reinstall", "--file", str(folder / part.program))
    content = gobuild.content_hash(part, workshop.places, workshop.machine)
    (_plugin_folder(workshop, name) / CONTENT_MARK).write_text(content)
    return "built"


def _install(workshop: Workshop, cli: Path, name: str, version: str, *arguments: str) -> None:
    command = [str(cli / "pulumi"), "plugin", "install", "resource", name, version, *arguments]
    home = str(session.pulumi_home(workshop.places, workshop.environ))
    environ = {**workshop.environ, "PULUMI_HOME": home, "PULUMI_SKIP_UPDATE_CHECK": "true"}
    with step(f"installing Pulumi plugin {name} {version}"):
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False, env=environ
            )
        except subprocess.TimeoutExpired as error:
            raise ToolchainError(f"pulumi plugin install {name}: not done after {INSTALL_SECONDS:.0f} s") from error
        if done.returncode != 0:
            raise ToolchainError(f"pulumi plugin install {name} failed: {(done.stderr or done.stdout).strip()}")


def ensure_official_plugin(workshop: Workshop, name: str, version: str, cli: Path) -> None:
    """Have a plugin that no package registry holds the parts of: present, or downloaded.

    Raises:
        ToolchainError: neither; the message says where to put it.
    """
    folder = _folder(workshop, name, version)
    if (folder / f"pulumi-resource-{name}").exists():
        return
    archive = f"pulumi-resource-{name}-v{version}-{workshop.machine.system}-{workshop.machine.architecture}.tar.gz"
    url = f"{RELEASES}/plugins/{archive}"
    if why := download.reachable(url):
        raise ToolchainError(
            f"the Pulumi plugin {name} {version} can be downloaded only, and not from here ({why}); unpack {archive} "
            f"into {folder}, or run this where downloads answer"
        )
    checksum = download.pinned(archive)
    _install(workshop, cli, name, version, *(["--checksum", checksum] if checksum else []))


def _plugin_folder(workshop: Workshop, name: str) -> Path:
    return _folder(workshop, name, PLUGINS[name].version)


def _folder(workshop: Workshop, name: str, version: str) -> Path:
    return session.pulumi_home(workshop.places, workshop.environ) / "plugins" / f"resource-{name}-v{version}"


def _download_cli(workshop: Workshop, official: Download) -> Path:
    target = workshop.places.cache / "pulumi" / f"v{CLI.version}-official"
    target.parent.mkdir(parents=True, exist_ok=True)
    archive = target.with_name(official.name)
    with step(f"downloading Pulumi CLI {CLI.version}"):
        download.fetch(official, archive)
        shutil.rmtree(target, ignore_errors=True)
        download.unpack(archive, target, top="pulumi")
        archive.unlink()
    if cli_version(target / "pulumi") != CLI.version:
        shutil.rmtree(target)
        raise DownloadError(f"the downloaded Pulumi CLI {CLI.version} doesn't run here")
    return target


def _assembled(workshop: Workshop) -> Path:
    hashes = [gobuild.content_hash(part, workshop.places, workshop.machine) for part in (CLI, HOST)]
    return workshop.places.cache / "pulumi" / "-".join(hashes)


def _build_cli(workshop: Workshop) -> Path:
    """The built CLI, host and scripts in one folder: the CLI warns of a host that is not beside it."""
    target = _assembled(workshop)
    built = [
        gobuild.build(part, places=workshop.places, machine=workshop.machine, go=workshop.go) / part.program
        for part in (CLI, HOST)
    ]
    partial = target.with_name(f".{target.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    for program in built:
        os.link(program, partial / program.name)
    sources = gobuild.module_folder(CLI.module(workshop.places), "github.com/pulumi/pulumi/sdk/v3", workshop.go())
    for script in SCRIPTS:
        gobuild.copy_program(sources / script, partial / Path(script).name)
    shutil.rmtree(target, ignore_errors=True)
    partial.rename(target)
    return target
