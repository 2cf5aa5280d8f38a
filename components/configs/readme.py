"""The page that ``pulumi stack output readme`` shows: ``Pulumi.README.md`` with this stack's outputs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

PAGE: Final = Path(__file__).parents[2] / "Pulumi.README.md"
_PLACE: Final = re.compile(r"\$\{outputs\.([\w.-]+)\}")


def readme(outputs: Mapping[str, Any]) -> str:
    """The page; a line whose output this stack does not have (a part that does not run) is left out."""
    shown = []
    for line in PAGE.read_text().splitlines():
        values = {name: _find(outputs, name) for name in _PLACE.findall(line)}
        if None not in values.values():
            for name, value in values.items():
                line = line.replace(f"${{outputs.{name}}}", str(value))  # noqa: PLW2901 - filled in place by place
            shown.append(line)
    return "\n".join(shown) + "\n"


def _find(outputs: Mapping[str, Any], name: str) -> str | None:
    """A text by its path; secrets and what is only known later are none."""
    value: Any = outputs
    for key in name.split("."):
        value = value.get(key) if isinstance(value, Mapping) else None
    return value if isinstance(value, str) else None
