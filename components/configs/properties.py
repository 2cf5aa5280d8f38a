"""Java properties as dictionaries: where an operator wants fields, the reviewed files stay the one source."""

from __future__ import annotations

from components.configs.render import render


def properties(name: str, **values: object) -> dict[str, str]:
    """``files/<name>`` rendered and read: ``key=value`` lines, comments left out."""
    return parse(render(name, **values))


def parse(text: str) -> dict[str, str]:
    """Read ``key=value`` lines; comments and blank lines are passed over."""
    lines = [line.strip() for line in text.splitlines()]
    pairs = (line.split("=", 1) for line in lines if line and not line.startswith("#"))
    return {key.strip(): value.strip() for key, value in pairs}
