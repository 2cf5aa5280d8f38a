"""Recipes of the images that are built here: ``images/<part>/recipe.toml`` read, filled in, and hashed by content.

``images/README.md`` describes the format. Standard library only.
"""

import hashlib
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from components import versions as pinned

DEFAULT_VERSIONS: Final[Mapping[str, str]] = {
    "postgres": pinned.POSTGRES,
    "kafka": pinned.KAFKA,
    "debezium": pinned.DEBEZIUM,
    "clickhouse": pinned.CLICKHOUSE,
    "chdb": pinned.CHDB,
    "jmx": pinned.JMX_EXPORTER,
    "prometheus": pinned.PROMETHEUS,
    "alertmanager": pinned.ALERTMANAGER,
    "node-exporter": pinned.NODE_EXPORTER,
    "debian-prometheus": pinned.DEBIAN_PROMETHEUS,
    "debian-alertmanager": pinned.DEBIAN_ALERTMANAGER,
    "debian-node-exporter": pinned.DEBIAN_NODE_EXPORTER,
    "postgres-exporter": pinned.POSTGRES_EXPORTER,
    "kafka-exporter": pinned.KAFKA_EXPORTER,
    "grafana": pinned.GRAFANA,
    "kafdrop": pinned.KAFDROP,
    "operations": pinned.OPERATIONS,
}
"""The names that a recipe may use in braces, with their pinned values."""

BASES: Final = "bases"
"""Among the versions: ``pulled`` where an image of ours is to stand on a pulled one."""
IGNORED: Final = ("__pycache__", ".pytest_cache", ".mypy_cache", ".ruff_cache")


class RecipeError(Exception):
    """A recipe or its input is wrong; the message names the file and the cure."""


@dataclass(frozen=True, kw_only=True)
class Fetch:
    """One group of artifacts that the host brings into the build context."""

    kind: str
    """``maven`` or ``pip``."""
    into: str
    """Folder of the build context, ``.`` for its root."""
    roots: tuple[str, ...]
    """``group:artifact:version[:extension[:classifier]]`` or ``name==version``."""
    lock: Path
    transitive: bool = False
    member: str | None = None
    """Take this one member of the (zip) artifact instead of the artifact."""
    rename: str | None = None
    """The file's name in the context; a name that ends in .tar is unpacked from xz on the way."""


@dataclass(frozen=True, kw_only=True)
class Program:
    """A program that the host builds from a Go module of ours and brings into the build context's root."""

    name: str
    """The file's name in the context."""
    package: str
    module: Path
    """Folder of its go.mod and go.sum, under toolchain/go."""


@dataclass(frozen=True, kw_only=True)
class Debootstrap:
    """A root file system made by debootstrap."""

    suite: str
    exclude: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How one image is built, all placeholders filled."""

    part: str
    folder: Path
    base: str | None
    pulled_base: str | None
    """Pulled instead of building ``base``, where everything is to be pulled."""
    version: str
    fetches: tuple[Fetch, ...]
    programs: tuple[Program, ...]
    files: tuple[tuple[str, Path], ...]
    """(name in the context, file or folder of the repository) for what lives outside the part's folder."""
    debootstrap: Debootstrap | None
    used_versions: tuple[tuple[str, str], ...]


class _Versions(dict[str, str]):
    """Remembers which versions a recipe asked for, so that others do not change its hash."""

    def __init__(self, values: Mapping[str, str]) -> None:
        super().__init__(values)
        self.used: dict[str, str] = {}

    def __getitem__(self, key: str) -> str:
        self.used[key] = super().__getitem__(key)
        return self.used[key]


def known_parts(images: Path) -> list[str]:
    """Names of all parts that have a recipe under ``images``."""
    return sorted(path.parent.name for path in images.glob("*/recipe.toml") if (path.parent / "Dockerfile").is_file())


def load(images: Path, part: str, versions: Mapping[str, str]) -> Recipe:
    """Read ``images/<part>/recipe.toml``; ``versions`` override the pinned ones.

    Raises:
        RecipeError: for an unknown part, an unknown key or version name, or a file that is not TOML.
    """
    path = images / part / "recipe.toml"
    if part not in known_parts(images):
        raise RecipeError(
            f"no recipe for image part {part!r}: {path} and a Dockerfile beside it are missing; known parts: "
            + ", ".join(known_parts(images))
        )
    values = _Versions({**DEFAULT_VERSIONS, **versions})
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
        return _recipe(path, raw, values)
    except tomllib.TOMLDecodeError as error:
        raise RecipeError(f"{path}: {error}") from error
    except KeyError as error:
        raise RecipeError(
            f"{path}: unknown or missing name {error}; versions are: {', '.join(sorted(values))}"
        ) from error


def _recipe(path: Path, raw: dict[str, Any], values: _Versions) -> Recipe:
    allowed = {"base", "pulled_base", "version", "maven", "pip", "go", "files", "debootstrap"}
    if unknown := sorted(set(raw) - allowed):
        raise RecipeError(f"{path}: unknown key {', '.join(unknown)}; allowed are {', '.join(sorted(allowed))}")
    root = path.parents[2]
    boot = raw.get("debootstrap")
    recipe = Recipe(
        part=path.parent.name,
        folder=path.parent,
        base=raw.get("base"),
        pulled_base=raw.get("pulled_base") if values.get(BASES) == "pulled" else None,
        version=values[raw["version"]] if "version" in raw else "",
        fetches=tuple(_fetch(path, kind, entry, values) for kind in ("maven", "pip") for entry in raw.get(kind, [])),
        programs=tuple(
            Program(name=entry["program"], package=entry["package"], module=root / "toolchain" / "go" / entry["module"])
            for entry in raw.get("go", [])
        ),
        files=tuple((entry["into"], root / entry["from"]) for entry in raw.get("files", [])),
        debootstrap=Debootstrap(suite=boot["suite"], exclude=tuple(boot.get("exclude", []))) if boot else None,
        used_versions=tuple(sorted(values.used.items())),
    )
    if (recipe.base is None) == (recipe.debootstrap is None):
        raise RecipeError(f'{path}: give either base = "<part>" or a [debootstrap] table')
    return recipe


def _fetch(path: Path, kind: str, entry: dict[str, Any], values: _Versions) -> Fetch:
    allowed = {"into", "roots", "lock", "transitive", "member", "as"}
    if unknown := sorted(set(entry) - allowed):
        raise RecipeError(
            f"{path}: [[{kind}]] has unknown key {', '.join(unknown)}; allowed: {', '.join(sorted(allowed))}"
        )
    return Fetch(
        kind=kind,
        into=entry["into"],
        roots=tuple(root.format_map(values) for root in entry["roots"]),
        lock=path.parent / entry["lock"],
        transitive=bool(entry.get("transitive", False)),
        member=entry.get("member"),
        rename=entry.get("as"),
    )


def content_hash(images: Path, recipe: Recipe, versions: Mapping[str, str]) -> str:
    """Twelve hex digits over the part's files, its versions and its base's hash.

    The same on every machine: it depends on no path, time, owner or file order.
    """
    digest = hashlib.sha256()
    for name, value in recipe.used_versions:
        digest.update(f"version {name}={value}\n".encode())
    modules = ((f"go {program.name}", program.module) for program in recipe.programs)
    for label, source in (("recipe", recipe.folder), *recipe.files, *modules):
        for name, file in context_files(source):
            mode = "x" if file.stat().st_mode & 0o100 else "-"
            digest.update(f"file {label} {name} {mode} {hashlib.sha256(file.read_bytes()).hexdigest()}\n".encode())
    if recipe.pulled_base is not None:
        digest.update(f"pulled base {recipe.pulled_base}\n".encode())
    elif recipe.base is not None:
        base = load(images, recipe.base, versions)
        digest.update(f"base {recipe.base} {content_hash(images, base, versions)}\n".encode())
    return digest.hexdigest()[:12]


def context_files(source: Path) -> list[tuple[str, Path]]:
    """(relative name, file) of all files below ``source`` that belong into an image, in a fixed order."""
    if source.is_file():
        return [(source.name, source)]
    if not source.is_dir():
        raise RecipeError(f"{source} is missing; it is named under [[files]] of a recipe")
    return [
        (path.relative_to(source).as_posix(), path)
        for path in sorted(source.rglob("*"), key=lambda path: path.relative_to(source).as_posix())
        if path.is_file() and path.suffix != ".md" and not any(name in path.parts for name in IGNORED)
    ]


def tag(images: Path, recipe: Recipe, versions: Mapping[str, str]) -> str:
    """The built image's name, ``cdc/<part>:<hash>``."""
    return f"cdc/{recipe.part}:{content_hash(images, recipe, versions)}"


def chain(images: Path, part: str, versions: Mapping[str, str]) -> list[Recipe]:
    """The recipes to build for ``part``, root first.

    Raises:
        RecipeError: when the bases form a circle.
    """
    recipes: list[Recipe] = []
    name: str | None = part
    while name is not None:
        if any(recipe.part == name for recipe in recipes):
            raise RecipeError(
                f"the bases of image part {part!r} form a circle at {name!r}; correct images/{name}/recipe.toml"
            )
        recipes.append(load(images, name, versions))
        name = None if recipes[-1].pulled_base else recipes[-1].base
    return recipes[::-1]
