"""Decides where each part's image comes from: pulled, built or absent. Asks registries, changes nothing."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from components.versions import UPSTREAM_IMAGES
from toolchain import images_registry, recipes

PULLED: Final = "pulled"
BUILT: Final = "built"
ABSENT: Final = "absent"
HIDDEN: Final = ("base", "base-java")
"""Recipes that only serve others."""
_UPSTREAM_VERSION: Final = {"kafka-connect": "debezium", "clickhouse-keeper": "clickhouse"}
"""Parts whose upstream tag follows a version of another name."""


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """The two images that a part can have."""

    part: str
    upstream: str | None
    """Reference to pull, None when nobody publishes the part."""
    upstream_version: str
    tag: str | None
    """Tag of the image built here, None without a recipe."""
    built_version: str


def buildable(images: Path) -> list[str]:
    """Parts with a recipe of their own."""
    return [part for part in recipes.known_parts(images) if part not in HIDDEN]


def candidate(images: Path, part: str, versions: Mapping[str, str]) -> Candidate:
    """What ``part`` can be pulled or built as, with these versions."""
    recipe = recipes.load(images, part, versions) if part in buildable(images) else None
    upstream_version = versions.get(_UPSTREAM_VERSION.get(part, part), "")
    return Candidate(
        part=part,
        upstream=UPSTREAM_IMAGES[part].format(version=upstream_version) if part in UPSTREAM_IMAGES else None,
        upstream_version=upstream_version,
        tag=recipes.tag(images, recipe, versions) if recipe else None,
        built_version=recipe.version if recipe else "",
    )


def forced(mode: str, one: Candidate) -> str:
    """The source in mode ``pull`` or ``build``; a part that nobody publishes is built in either."""
    if mode == "pull" and one.upstream is not None:
        return PULLED
    return BUILT if one.tag is not None else ABSENT


def automatic(
    candidates: list[Candidate],
    *,
    before: Mapping[str, Mapping[str, Any]],
    present: Mapping[str, int],
    seconds: float,
    log: Callable[[str], None],
) -> dict[str, str]:
    """Part -> source in mode ``auto``.

    What a part was before, it stays: its volume was written by that image, and the other need not read it. A part
    that is new, or whose pulled image is gone, is pulled when its registry answers within ``seconds``.
    """
    plan: dict[str, str] = {}
    unknown: dict[str, str] = {}
    for one in candidates:
        if one.tag is not None and (one.upstream is None or before.get(one.part, {}).get("source") == BUILT):
            plan[one.part] = BUILT
        elif one.upstream in present:
            plan[one.part] = PULLED
        elif one.upstream is not None:
            unknown[one.part] = images_registry.registry_host(one.upstream)
    if unknown:
        log(f"asking {', '.join(sorted(set(unknown.values())))} for {', '.join(unknown)} (at most {seconds:.0f} s)")
        mirrors = images_registry.engine_mirrors()
        found = images_registry.answering(unknown.values(), seconds=seconds, mirrors=mirrors)
        tags = {one.part: one.tag for one in candidates}
        for part, host in unknown.items():
            plan[part] = PULLED if host in found else (BUILT if tags[part] is not None else ABSENT)
            if plan[part] == BUILT and before.get(part, {}).get("source") == PULLED:
                log(
                    f"WARNING: {part} was pulled before, is no longer in the engine, and {host} does not answer: it is "
                    "built now. If it cannot read its old volume, pull again or remove the volume (make down)"
                )
    return plan
