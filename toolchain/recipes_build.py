"""Builds an image from its recipe: root file system or base, fetched artifacts, ``docker build``.

The tag appears only when everything went well, so an interrupted build is simply done again.
"""

import os
import shutil
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from toolchain import gobuild, preflight, recipes
from toolchain.console import ToolchainError
from toolchain.golang import Go, ensure_go
from toolchain.places import Places
from toolchain.preflight import Machine
from toolchain.recipes import Program, Recipe, RecipeError
from toolchain.recipes_fetch import cache_root, fetch, place
from toolchain.recipes_run import CommandError, run_logged

BUILD_SECONDS: Final = 1200
FREE_BYTES: Final = 3 * 1024**3
"""Free space that a cold build of all parts needs, with room to spare."""
DEBIAN_MIRROR: Final = "http://deb.debian.org/debian"
_KEYRING: Final = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
_SLIM: Final = (
    *("usr/share/doc", "usr/share/man", "usr/share/info", "usr/share/locale", "usr/share/lintian"),
    *("var/lib/apt/lists", "var/cache/apt", "var/log"),
)
"""What debootstrap leaves in the root file system that no container reads."""


@dataclass(frozen=True, kw_only=True)
class Builder:
    """What every build of one run shares."""

    images: Path
    """The folder of recipes."""
    logs: Path
    versions: Mapping[str, str]
    log: Callable[[str], None]

    def log_file(self, part: str) -> Path:
        """Where the commands of one part write."""
        return self.logs / f"images-{part}.log"


def image_sizes(references: Iterable[str]) -> dict[str, int]:
    """Those of ``references`` that the engine holds, with their size in bytes.

    Raises:
        CommandError: the engine does not answer.
    """
    wanted = sorted(set(references))
    if not wanted:
        return {}
    command = ["docker", "image", "inspect", "--format", "{{.Size}} {{range .RepoTags}}{{.}} {{end}}", *wanted]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    except (FileNotFoundError, subprocess.TimeoutExpired) as error:
        raise CommandError(
            f"docker image inspect: {error}; start the Docker engine (python -m toolchain engine)"
        ) from error
    if answer.returncode != 0 and "no such image" not in answer.stderr.lower():
        raise CommandError(
            f"docker image inspect: {answer.stderr.strip()}; start the Docker engine (python -m toolchain engine)"
        )
    sizes: dict[str, int] = {}
    for line in filter(None, answer.stdout.splitlines()):
        size, *tags = line.split()
        sizes |= {tag: int(size) for tag in tags if tag in wanted}
    return sizes


def needed_commands(recipes_to_build: Iterable[Recipe]) -> dict[str, str]:
    """Commands that these builds call on the host, with the Debian package of each."""
    needed: dict[str, str] = {}
    for recipe in recipes_to_build:
        if recipe.debootstrap:
            needed["debootstrap"] = "debootstrap"
        if any(group.kind == "maven" for group in recipe.fetches):
            needed |= {"mvn": "maven", "java": "openjdk-17-jre-headless"}
    return needed


def build_part(builder: Builder, part: str) -> str:
    """Build ``part`` and the bases that are not there yet; returns its tag.

    Raises:
        RecipeError, CommandError: with the part, the step and the cure.
    """
    chain = recipes.chain(builder.images, part, builder.versions)
    base = ""
    for recipe in chain:
        tag = recipes.tag(builder.images, recipe, builder.versions)
        if tag not in image_sizes([tag]):
            started = time.monotonic()
            builder.log(f"{recipe.part}: building {tag}")
            _check_space(recipe.part)
            _build_one(builder, recipe, tag, base)
            size = image_sizes([tag]).get(tag, 0) // 1_000_000
            builder.log(f"{recipe.part}: built in {time.monotonic() - started:.0f} s, {size} MB")
        base = tag
    return base


def _check_space(part: str) -> None:
    cache = cache_root()
    cache.mkdir(parents=True, exist_ok=True)
    for folder in (cache, Path("/var/lib/docker")):
        if folder.exists() and (free := shutil.disk_usage(folder).free) < FREE_BYTES:
            raise RecipeError(
                f"image {part}: {free / 1e9:.1f} GB free below {folder}, building needs {FREE_BYTES / 1e9:.1f} GB; "
                "free space (docker system df, docker image prune) or set CDC_CACHE to a larger disk"
            )


def _build_one(builder: Builder, recipe: Recipe, tag: str, base: str) -> None:
    work = cache_root() / "work"
    work.mkdir(parents=True, exist_ok=True)
    with _working_folder(work, recipe.part) as folder:
        context = folder / "context"
        shutil.copytree(recipe.folder, context, ignore=shutil.ignore_patterns(*recipes.IGNORED, "*.md"))
        for into, source in recipe.files:
            for name, file in recipes.context_files(source):
                target = context / into / name if source.is_dir() else context / into
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(file, target)
        for program in recipe.programs:
            shutil.copy2(_go_program(recipe, program), context / program.name)
        for group in recipe.fetches:
            files = fetch(group, cache=cache_root(), log=builder.log, log_file=builder.log_file(recipe.part))
            place(group, files, context)
        if recipe.debootstrap is not None:
            base = _root_file_system(builder, recipe, folder, tag)
        _docker_build(builder, recipe, context, tag, recipe.pulled_base or base)
        if recipe.debootstrap is not None:
            subprocess.run(["docker", "rmi", "--no-prune", base], capture_output=True, timeout=60, check=False)


def _go_program(recipe: Recipe, program: Program) -> Path:
    """The program, built for the images' Linux; kept by content as all that is built from Go modules."""
    places = Places.of()
    machine = Machine(system="linux", architecture=preflight.machine().architecture)
    part = gobuild.GoPart(
        name=program.module.name,
        title=recipe.part,
        version=recipe.version,
        package=program.package,
        program=program.name,
        minutes=1.5,
        linker_flags=f"-X github.com/prometheus/common/version.Version={recipe.version}",
    )

    def go() -> Go:
        found = ensure_go(places, preflight.machine())
        return replace(found, environ={**found.environ, "GOOS": machine.system, "GOARCH": machine.architecture})

    try:
        folder = gobuild.build(part, places=places, machine=machine, go=go)
    except ToolchainError as error:
        raise RecipeError(f"image {recipe.part}: {error}") from error
    return folder / program.name


@contextmanager
def _working_folder(work: Path, part: str) -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix=f"{part}-", dir=work))
    try:
        yield folder
    finally:
        remove_work(folder)


def remove_work(folder: Path) -> None:
    """Delete a working folder; what an interrupted debootstrap left mounted below it is let go first, never deleted."""
    below = f"{folder.resolve()}/"
    mounts = [line.split()[1] for line in Path("/proc/mounts").read_text(encoding="utf-8").splitlines()]
    for mount in (mount for mount in reversed(mounts) if mount.startswith(below)):
        answer = subprocess.run(["umount", "--lazy", mount], capture_output=True, text=True, timeout=60, check=False)
        if answer.returncode != 0:
            raise CommandError(f"{mount} is still mounted ({answer.stderr.strip()}); unmount it and run again")
    shutil.rmtree(folder, ignore_errors=True)


def _root_file_system(builder: Builder, recipe: Recipe, folder: Path, tag: str) -> str:
    """Make Debian's minimal system with debootstrap and import it; returns the name of that image."""
    boot = recipe.debootstrap
    if boot is None:
        raise RecipeError(f"{recipe.part}: no [debootstrap] table")
    root = folder / "root"
    mirror = os.environ.get("CDC_DEBIAN_MIRROR", DEBIAN_MIRROR)
    command = ["debootstrap", "--variant=minbase", f"--exclude={','.join(boot.exclude)}"]
    if _KEYRING.is_file():
        command.append(f"--keyring={_KEYRING}")
    run_logged(
        [*command, boot.suite, str(root), mirror],
        what=f"{recipe.part}: debootstrap {boot.suite}",
        cure=f"it needs root and the Debian mirror {mirror} (another one: CDC_DEBIAN_MIRROR)",
        deadline=BUILD_SECONDS,
        log=builder.log,
        log_file=builder.log_file(recipe.part),
    )
    for name in _SLIM:
        shutil.rmtree(root / name, ignore_errors=True)
    for name in ("var/log", "var/lib/apt/lists/partial", "var/cache/apt/archives/partial"):
        (root / name).mkdir(parents=True, exist_ok=True)
    shutil.copytree(recipe.folder / "files", root, dirs_exist_ok=True)
    (root / "etc/apt/sources.list").write_text(
        f"deb {mirror} {boot.suite} main\ndeb {mirror} {boot.suite}-updates main\n"
        f"deb {mirror}-security {boot.suite}-security main\n",
        encoding="utf-8",
    )
    for name in ("etc/hostname", "etc/resolv.conf"):
        (root / name).unlink(missing_ok=True)
    archive = folder / "root.tar"
    with tarfile.open(archive, "w") as tar:
        tar.add(root, arcname=".")
    shutil.rmtree(root)
    name = f"{tag}-root"
    run_logged(
        ["docker", "import", str(archive), name],
        what=f"{recipe.part}: docker import",
        cure="is the Docker engine running?",
        deadline=BUILD_SECONDS,
        log=builder.log,
        log_file=builder.log_file(recipe.part),
    )
    return name


def _docker_build(builder: Builder, recipe: Recipe, context: Path, tag: str, base: str) -> None:
    labels = {
        "cdc.part": recipe.part,
        "cdc.version": recipe.version,
        "cdc.built": "true",
        "cdc.content": tag.rpartition(":")[2],
    }
    command = ["docker", "build", "--rm", "--force-rm", "--tag", tag, "--build-arg", f"BASE={base}"]
    for key, value in labels.items():
        command += ["--label", f"{key}={value}"]
    for proxy in ("http_proxy", "https_proxy", "no_proxy"):
        if address := os.environ.get(proxy) or os.environ.get(proxy.upper()):
            command += ["--build-arg", f"{proxy}={address}"]
    run_logged(
        [*command, str(context)],
        what=f"{recipe.part}: docker build",
        cure="the lines below say which step; the next run begins with that image again",
        deadline=BUILD_SECONDS,
        log=builder.log,
        log_file=builder.log_file(recipe.part),
        # The classic builder is there with every engine; BuildKit needs a plugin that Debian's engine lacks.
        env={**os.environ, "DOCKER_BUILDKIT": "0"},
    )
