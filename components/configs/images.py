"""Which image each part runs: what the toolchain pulled or built, else the pinned upstream one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from components import versions
from components.settings import Settings, SettingsError

RECORD = Path(".local/images.json")
MONITORING_PARTS: Final[dict[str, str]] = {
    "operations": versions.OPERATIONS,
    "prometheus": versions.PROMETHEUS,
    "alertmanager": versions.ALERTMANAGER,
    "node-exporter": versions.NODE_EXPORTER,
    "postgres-exporter": versions.POSTGRES_EXPORTER,
    "kafka-exporter": versions.KAFKA_EXPORTER,
    "grafana": versions.GRAFANA,
    "kafdrop": versions.KAFDROP,
}
PROGRAMS: Final = ("cdc-exporter", "cdc-reconcile")
"""Containers of the image `operations`."""
UNBUILT: Final = "cdc/{part}:not-built-yet"
"""Stands for an image of ours in a preview that comes before `make images`."""


@dataclass(frozen=True, kw_only=True)
class Image:
    """An image a part runs; ``source`` says how it came to this host."""

    part: str
    reference: str
    source: Literal["pulled", "built"]
    version: str


def container_name(part: str) -> str:
    """What the container of a part is called, before the stack's prefix."""
    return "postgres-source" if part == "postgres" else part


def containers(images: Mapping[str, Image]) -> dict[str, Image]:
    """What runs in a container of its own, by part: one image serves every program of ours."""
    shown: dict[str, Image] = {}
    for part, image in images.items():
        shown |= dict.fromkeys(PROGRAMS, image) if part == "operations" else {part: image}
    return shown


def part_versions(settings: Settings) -> dict[str, str]:
    """The parts that ``settings`` asks for, each with its version."""
    parts = {
        "kafka": settings.kafka_version,
        "kafka-connect": settings.debezium_version,
        "clickhouse": settings.clickhouse_version,
    }
    if settings.source == "managed":
        parts["postgres"] = settings.postgres_version
    if settings.replicated:
        parts["clickhouse-keeper"] = settings.clickhouse_version
    if settings.monitoring:
        parts |= MONITORING_PARTS
    return parts


def resolve(settings: Settings, *, record: Path | None = None) -> dict[str, Image]:
    """Image of every part, without the optional ones that can't be had here.

    Raises SettingsError when a part's image can't be had, when the record is of other versions than the settings ask
    for, and when replicated tables are asked of a ClickHouse that was built.
    """
    path = record or RECORD
    known = json.loads(path.read_text()) if path.is_file() else {}
    wanted = part_versions(settings)
    absent = {part for part in wanted if known.get(part, {}).get("source") == "absent"}
    if missing := sorted(absent - set(versions.OPTIONAL_PARTS)):
        raise SettingsError(f"no image for {', '.join(missing)} on this host; run `make images`, which says why")
    images = {part: _resolve(part, version, known.get(part)) for part, version in wanted.items() if part not in absent}
    if settings.replicated and images["clickhouse"].source == "built":
        raise SettingsError(
            "cdc:replicated = True: the built ClickHouse has no replicated tables; set replicated to false, "
            "or images to pull where an image registry answers"
        )
    return images


def require_built(images: Mapping[str, Image]) -> None:
    """Raise SettingsError when an image that only we can make has not been made."""
    if missing := [part for part, image in images.items() if image.reference == UNBUILT.format(part=part)]:
        raise SettingsError(f"no image for {', '.join(missing)} on this host; run `make images`")


def _resolve(part: str, version: str, known: dict[str, str] | None) -> Image:
    if known is None and part not in versions.UPSTREAM_IMAGES:
        return Image(part=part, reference=UNBUILT.format(part=part), source="built", version=version)
    if known is None:
        reference = versions.UPSTREAM_IMAGES[part].format(version=version)
        return Image(part=part, reference=reference, source="pulled", version=version)
    wanted = known.get("requested", known["version"])
    if wanted != version:
        raise SettingsError(
            f"the image of {part} on this host is {wanted}, the settings ask for {version}; run `make images`"
        )
    source: Literal["pulled", "built"] = "built" if known["source"] == "built" else "pulled"
    return Image(part=part, reference=known["reference"], source=source, version=known["version"])
