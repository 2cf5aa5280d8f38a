"""What the dynamic providers share: reading inputs, comparing them, explaining failures.

A provider instance carries no state: its class is importable, so dill stores a reference and not the code. The
stored provider is the same tiny text on every run, and `refresh` and `destroy` run the working tree's code.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from pulumi.dynamic import CheckFailure, ResourceProvider
from pulumi.runtime import rpc

from cdc.waiting import Deadline

__all__ = [
    "Deadline",
    "Provider",
    "ProviderError",
    "changed",
    "explained",
    "flag",
    "integer",
    "known",
    "mapping",
    "required",
    "strings",
    "text",
]


class ProviderError(Exception):
    """A failure as the user reads it in Pulumi's output: what failed, why, and the cure."""


class Provider(ResourceProvider):
    """Base of all providers here; instances are empty, so there is nothing secret in the stored provider."""

    serialize_as_secret_always = False


def known(props: Mapping[str, Any], key: str) -> bool:
    """Whether the input is present and, in a preview, already computed."""
    value = props.get(key)
    return value is not None and not rpc.contains_unknowns(value)


def text(props: Mapping[str, Any], key: str, default: str | None = None) -> str:
    """A text input; a whole number that protobuf turned into a float (8083.0) reads as ``8083``."""
    value = props.get(key)
    if value is None:
        if default is None:
            raise ProviderError(f"the input `{key}` is missing")
        return default
    return str(_plain(value))


def integer(props: Mapping[str, Any], key: str, default: int | None = None) -> int:
    """A whole-number input, which may arrive as ``8083``, ``8083.0`` or ``"8083"``."""
    value = props.get(key)
    if value is None:
        if default is None:
            raise ProviderError(f"the input `{key}` is missing")
        return default
    try:
        return int(str(_plain(value)))
    except ValueError:
        raise ProviderError(f"the input `{key}` must be a whole number, not {value!r}") from None


def flag(props: Mapping[str, Any], key: str, *, default: bool = False) -> bool:
    """A yes/no input; the texts ``true`` and ``false`` count too."""
    value = props.get(key)
    if value is None:
        return default
    return value if isinstance(value, bool) else str(value).strip().lower() in ("true", "1", "1.0", "yes")


def strings(props: Mapping[str, Any], key: str) -> list[str]:
    """A list of texts; empty when the input is absent."""
    return [str(_plain(item)) for item in props.get(key) or []]


def mapping(props: Mapping[str, Any], key: str) -> dict[str, Any]:
    """A dictionary input with text keys, numbers made plain; empty when absent. Always a new dictionary."""
    return {str(name): _plain(value) for name, value in (props.get(key) or {}).items()}


def changed(
    olds: Mapping[str, Any], news: Mapping[str, Any], keys: Iterable[str], *, unknown: bool = True
) -> list[str]:
    """Those of ``keys`` whose values differ. ``olds`` are outputs, so only the named keys are compared; ``8083.0``,
    ``8083`` and ``"8083"`` are equal. A value still unknown in a preview counts as ``unknown`` says."""
    different = []
    for key in keys:
        if rpc.contains_unknowns(news.get(key)):
            if unknown:
                different.append(key)
        elif _comparable(olds.get(key)) != _comparable(news.get(key)):
            different.append(key)
    return different


def required(news: Mapping[str, Any], keys: Iterable[str]) -> list[CheckFailure]:
    """Findings for `check`: inputs that are absent or empty. Values unknown in a preview pass."""
    failures = []
    for key in keys:
        value = news.get(key)
        if not rpc.contains_unknowns(value) and (value is None or value in ("", [], {})):
            failures.append(CheckFailure(key, f"`{key}` must be set"))
    return failures


@contextmanager
def explained(thing: str, *, secrets: Iterable[str] = ()) -> Iterator[None]:
    """Turn any failure inside into one ProviderError that starts with ``thing`` and shows none of ``secrets``."""
    try:
        yield
    except Exception as error:
        message = str(error) if str(error) and not isinstance(error, KeyError) else repr(error)
        for secret in filter(None, secrets):
            message = message.replace(secret, "***")
        # `from None`: the cause's text could hold what was just masked.
        raise ProviderError(f"{thing}: {message}") from None


def _plain(value: Any) -> Any:  # noqa: ANN401 - inputs are JSON-like values of any shape
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    return value


def _comparable(value: Any) -> Any:  # noqa: ANN401
    value = _plain(value)
    if isinstance(value, list):
        return [_comparable(item) for item in value]
    if isinstance(value, dict):
        return {key: _comparable(item) for key, item in value.items() if item is not None}
    if isinstance(value, bool):
        return str(value).lower()
    return None if value is None else str(value)
