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


def part_versions(settings: Settings) -> dict[str, str]:
    """Version of each part that ``settings`` asks for."""
    return {
        "postgres": settings.postgres_version,
        "kafka": settings.kafka_version,
        "kafka-connect": settings.debezium_version,
        "clickhouse": settings.clickhouse_version,
    }


def resolve(settings: Settings, *, record: Path | None = None) -> dict[str, Image]:
    """Image of every part. Raises SettingsError when the record is of other versions than the settings ask for."""
    path = record or RECORD
    known = json.loads(path.read_text()) if path.is_file() else {}
    return {part: _resolve(part, version, known.get(part)) for part, version in part_versions(settings).items()}


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
