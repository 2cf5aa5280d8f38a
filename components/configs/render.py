"""Fill in the configuration files of ``files/``: reviewed as files, completed with the stack's values."""

from __future__ import annotations

from pathlib import Path
from string import Template

FILES = Path(__file__).parent / "files"


def render(name: str, **values: object) -> str:
    """Return ``files/<name>`` with each ``${placeholder}`` filled in.

    Raises KeyError when a placeholder has no value and ValueError when a value has no placeholder: a setting that
    reaches no file would be a setting without effect.
    """
    template = Template((FILES / name).read_text())
    if surplus := sorted(set(values) - set(template.get_identifiers())):
        raise ValueError(f"{name} has no placeholder for {', '.join(surplus)}")
    return template.substitute({key: str(value) for key, value in values.items()})
