"""Which metrics a PromQL expression names. Enough of the grammar for our own rules and panels."""

from __future__ import annotations

import re

WORDS = frozenset(
    {"and", "or", "unless", "bool", "offset", "by", "without", "on", "ignoring", "group_left", "group_right"}
)
_STRINGS = re.compile(r'"(?:[^"\\]|\\.)*"|\'(?:[^\'\\]|\\.)*\'')
_LABELS = re.compile(r"\{[^{}]*\}")
_RANGES = re.compile(r"\[[^\[\]]*\]")
_LABEL_LISTS = re.compile(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\([^()]*\)")
_NUMBERS = re.compile(r"(?<![\w:])\d[\w.]*|\b(?:[Ii]nf|NaN)\b")
_NAMES = re.compile(r"[a-zA-Z_:][\w:]*(?!\s*\(|[\w:])")


def metrics(expression: str) -> set[str]:
    """Names of the series that ``expression`` reads."""
    rest = expression.replace("$__rate_interval", "5m").replace("$__range", "1h").replace("$__interval", "1m")
    for noise in (_STRINGS, _LABELS, _RANGES, _LABEL_LISTS, _NUMBERS):
        rest = noise.sub(" ", rest)
    return {name for name in _NAMES.findall(rest) if name not in WORDS}
