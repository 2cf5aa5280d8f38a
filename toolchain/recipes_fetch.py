"""Brings a recipe's artifacts onto the host: cached by coordinates, checked against the recipe's lock file.

The host's own clients do the fetching (mvn, pip), with whatever mirror and certificates they are set up for.
"""

import hashlib
import json
import lzma
import os
import shutil
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final
from xml.sax.saxutils import escape

from toolchain.recipes import Fetch, RecipeError
from toolchain.recipes_run import CommandError, run_logged

Log = Callable[[str], None]

FETCH_SECONDS: Final = 900
RETRY_SECONDS: Final = 3.0
_SUMS: Final = "SHA256SUMS"
_MAVEN_PLUGIN: Final = "org.apache.maven.plugins:maven-dependency-plugin:2.8"


class ChecksumError(RecipeError):
    """An artifact is not the one that was pinned."""


def cache_root() -> Path:
    """The cache that all clones share: ``$CDC_CACHE``, else ``cdc-pipeline`` in the user's cache folder."""
    if own := os.environ.get("CDC_CACHE"):
        return Path(own)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "cdc-pipeline"


@contextmanager
def fresh_folder(final: Path) -> Iterator[Path]:
    """A folder that takes the name ``final`` only when the block ends without an error."""
    final.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".new-", dir=final.parent) as name:
        fresh = Path(name) / "content"
        fresh.mkdir()
        yield fresh
        if final.exists():
            shutil.rmtree(final)
        fresh.rename(final)


def fetch(group: Fetch, *, cache: Path, log: Log, log_file: Path) -> list[Path]:
    """The files of one group, from the cache or the registry, every one verified.

    Raises:
        ChecksumError: a file differs from the lock, or from what was fetched first.
        CommandError: the registry has no such artifact, or does not answer.
    """
    key = hashlib.sha256(json.dumps([group.kind, group.roots, group.transitive]).encode()).hexdigest()[:16]
    name = group.roots[0].replace(":", "_").replace("=", "_").replace("/", "_")
    folder = cache / "artifacts" / f"{name}-{key}"
    if not (folder / _SUMS).is_file():
        log(f"fetching {', '.join(group.roots)} ({group.kind})")
        with fresh_folder(folder) as fresh:
            (_fetch_maven if group.kind == "maven" else _fetch_pip)(group, fresh, log, log_file)
            files = sorted(fresh.iterdir())
            _check_lock(group, {file.name: sha256(file) for file in files}, fresh, log)
            (fresh / _SUMS).write_text("".join(f"{sha256(file)}  {file.name}\n" for file in files), encoding="utf-8")
    sums = {file.name: sha256(file) for file in sorted(folder.iterdir()) if file.name != _SUMS}
    if sums != _read_sums((folder / _SUMS).read_text(encoding="utf-8")):
        raise ChecksumError(f"{folder} no longer holds what was fetched into it; delete the folder and run again")
    _check_lock(group, sums, folder, None)
    return [folder / file for file in sums]


def sha256(file: Path) -> str:
    """Hex digest of a file."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _read_sums(text: str) -> dict[str, str]:
    pairs = (line.split(maxsplit=1) for line in text.splitlines() if line.strip() and not line.startswith("#"))
    return {name.strip(): digest for digest, name in pairs}


def read_lock(lock: Path, roots: tuple[str, ...]) -> dict[str, str] | None:
    """File name -> sha256 as pinned for exactly these roots, or None when this version is not pinned.

    A lock file holds one section a set of versions: a line ``# roots: A B``, then lines as sha256sum prints them.
    """
    wanted = "# roots: " + " ".join(roots)
    for section in ("\n" + lock.read_text(encoding="utf-8")).split("\n# roots: ") if lock.is_file() else []:
        head, _, body = section.partition("\n")
        if f"# roots: {head.strip()}" == wanted:
            return _read_sums(body)
    return None


def lock_section(roots: tuple[str, ...], sums: dict[str, str]) -> str:
    """The text to add to a lock file to pin these files."""
    return "".join([f"# roots: {' '.join(roots)}\n", *(f"{sums[name]}  {name}\n" for name in sorted(sums))])


def _check_lock(group: Fetch, sums: dict[str, str], folder: Path, log: Log | None) -> None:
    pinned = read_lock(group.lock, group.roots)
    if pinned is None:
        if log is not None:
            _report_trust(group, sums, log)
        return
    for name in sorted(set(pinned) | set(sums)):
        expected, found = pinned.get(name, "none: not in the lock"), sums.get(name, "none: no such file")
        if expected != found:
            raise ChecksumError(
                f"{name} of {group.roots[0]} is not the pinned artifact and is not used: sha256 {found}, expected "
                f"{expected}. Delete it from the client's own cache (~/.m2/repository, pip cache purge) and {folder}, "
                f"check the mirror, and run again; only if the change is wanted, correct {group.lock}"
            )


def _report_trust(group: Fetch, sums: dict[str, str], log: Log) -> None:
    log(f"{', '.join(group.roots)}: not pinned in {group.lock}; trusted on first use:")
    for name in sorted(sums)[:5]:
        log(f"  sha256 {sums[name]}  {name}")
    if len(sums) > 5:
        log(f"  and {len(sums) - 5} more, kept in the cache's {_SUMS}")


def _fetch_maven(group: Fetch, target: Path, log: Log, log_file: Path) -> None:
    roots = ", ".join(group.roots)
    with tempfile.TemporaryDirectory() as name:
        pom = Path(name) / "pom.xml"
        pom.write_text(_pom(group), encoding="utf-8")
        command = [
            "mvn",
            "-B",
            "-q",
            "-f",
            str(pom),
            f"{_MAVEN_PLUGIN}:copy-dependencies",
            f"-DoutputDirectory={target}",
        ]
        if not group.transitive:
            command.append("-DexcludeTransitive=true")

        def run(*options: str) -> None:
            run_logged(
                [*command, *options],
                what=f"fetching {roots} from Maven",
                cure="check that the version exists and that mvn reaches its repository (settings.xml, mirror, proxy)",
                deadline=FETCH_SECONDS,
                log=log,
                log_file=log_file,
            )

        if read_lock(group.lock, group.roots) is not None:
            # The pinned sha256 says more than the registry's sums, which some mirrors do not serve for every file.
            _twice(run, log)
            return
        try:
            _twice(lambda: run("--strict-checksums"), log)
        except CommandError as error:
            if "no checksums available" not in str(error):
                raise
            log(f"WARNING: the registry has no checksum for {roots}; taking it as it comes")
            run()


def _twice(run: Callable[[], None], log: Log) -> None:
    """One more try for a connection that broke; an answer that says no is final."""
    try:
        run()
    except CommandError as error:
        if any(word in str(error) for word in ("Could not find artifact", "no checksums available", "is missing")):
            raise
        log(f"{str(error).splitlines()[0]}; trying once more")
        time.sleep(RETRY_SECONDS)
        run()


def _pom(group: Fetch) -> str:
    names = ("groupId", "artifactId", "version", "type", "classifier")
    entries = []
    for root in group.roots:
        fields = "".join(
            f"<{name}>{escape(value)}</{name}>" for name, value in zip(names, root.split(":"), strict=False)
        )
        entries.append(f"<dependency>{fields}</dependency>")
    return (
        '<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>'
        "<groupId>cdc</groupId><artifactId>fetch</artifactId><version>1</version><packaging>pom</packaging>"
        f"<dependencies>{''.join(entries)}</dependencies></project>"
    )


def _fetch_pip(group: Fetch, target: Path, log: Log, log_file: Path) -> None:
    command = [
        sys.executable, "-m", "pip", "download", "--quiet", "--only-binary=:all:", "--python-version=3.11",
        "--platform=manylinux2014_x86_64", "--platform=manylinux_2_28_x86_64", "--dest", str(target),
    ]  # fmt: skip
    if not group.transitive:
        command.append("--no-deps")
    run_logged(
        [*command, *group.roots],
        what=f"fetching {', '.join(group.roots)} with pip",
        cure="check that the version exists and that pip reaches its index (pip.conf, proxy)",
        deadline=FETCH_SECONDS,
        log=log,
        log_file=log_file,
    )


def place(group: Fetch, files: list[Path], context: Path) -> None:
    """Put the fetched files into the build context, by hard link where possible."""
    folder = context / group.into
    folder.mkdir(parents=True, exist_ok=True)
    if group.rename is None and group.member is None:
        for file in files:
            _link(file, folder / file.name)
        return
    (file,) = files
    target = folder / (group.rename or group.member or file.name)
    if group.member is None:
        _link(file, target)
        return
    with zipfile.ZipFile(file) as archive, archive.open(group.member) as packed, target.open("wb") as plain:
        if group.member.endswith((".xz", ".txz")) and target.suffix == ".tar":
            with lzma.open(packed) as stream:
                shutil.copyfileobj(stream, plain)
        else:
            shutil.copyfileobj(packed, plain)


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
