"""Which image each part runs: what the toolchain pulled or built, else the pinned upstream one."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from components import versions
from components.settings import Settings, SettingsError

RECORD = Path(".local/images.json")


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
    return parts


def resolve(settings: Settings, *, record: Path | None = None) -> dict[str, Image]:
    """Image of every part.

    Raises SettingsError when the record is of other versions than the settings ask for, and when replicated tables
    are asked of a ClickHouse that was built.
    """
    path = record or RECORD
    known = json.loads(path.read_text()) if path.is_file() else {}
    images = {part: _resolve(part, version, known.get(part)) for part, version in part_versions(settings).items()}
    if settings.replicated and images["clickhouse"].source == "built":
        raise SettingsError(
            "cdc:replicated = True: the built ClickHouse has no replicated tables; set replicated to false, "
            "or images to pull where an image registry answers"
        )
    return images


def _resolve(part: str, version: str, known: dict[str, str] | None) -> Image:
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
