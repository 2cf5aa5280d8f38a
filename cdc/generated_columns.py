"""Translates the expression of a generated column: exact arithmetic of numbers, or nothing at all.

PostgreSQL does not send generated columns in changes, so ClickHouse computes them. Only sums, differences and products
of integers, numerics and literals are translated, where the result needs no rounding: both sides agree to the digit.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cdc.table_model import SourceColumn
from cdc.type_map import TypeMapError, rule

_TOKEN = re.compile(
    r"\s*(?:(?P<cast>::(?:numeric|integer|bigint|smallint)(?:\(\d+(?:,\d+)?\))?)|(?P<number>\d+(?:\.\d+)?)"
    r"|(?P<name>[a-z_][a-z0-9_]*|\"(?:[^\"]|\"\")+\")|(?P<sign>[-+*()]))"
)
_DIGITS = {"int2": 5, "int4": 10, "int8": 19}


@dataclass(frozen=True, kw_only=True)
class Formula:
    """A translated expression. ``text`` has ``{column}`` for each of ``operands``; ``target`` is the result's type."""

    text: str
    operands: tuple[str, ...]
    target: str

    def sql(self, values: Mapping[str, str]) -> str:
        """The expression over the operands' own expressions; NULL where the result doesn't fit."""
        text = re.sub(r"\{(\w+)\}", lambda match: values[match[1]], self.text)
        return f"accurateCastOrNull({text}, '{self.target}')"

    def present(self, image: str) -> str:
        """Whether all operands are there."""
        return " AND ".join(f"isNotNull({image}.{name})" for name in self.operands)


def translate(column: SourceColumn, siblings: Sequence[SourceColumn]) -> Formula | None:
    """The formula of a generated column, None where it isn't exact arithmetic of plain columns."""
    try:
        result = rule(column).clickhouse
        return _Parser(column.generated or "", siblings).formula(result)
    except (TypeMapError, _NotTranslatedError):
        return None


class _NotTranslatedError(Exception):
    """The expression is of another kind."""


class _Parser:
    """Recursive descent; each part is (ClickHouse expression, digits before and behind the point)."""

    def __init__(self, text: str, siblings: Sequence[SourceColumn]) -> None:
        self._columns = {column.name: column for column in siblings}
        self._tokens = self._split(text)
        self._operands: list[str] = []

    @staticmethod
    def _split(text: str) -> list[tuple[str, str]]:
        tokens, place = [], 0
        while place < len(text.rstrip()):
            match = _TOKEN.match(text, place)
            if match is None or match.lastgroup is None:
                raise _NotTranslatedError
            tokens.append((match.lastgroup, match[match.lastgroup]))
            place = match.end()
        return tokens

    def formula(self, target: str) -> Formula:
        text, whole, scale = self._sum()
        target_scale = int(target.rsplit(", ", 1)[1].rstrip(")")) if target.startswith("Decimal") else 0
        is_number = target.startswith(("Decimal", "Int"))
        if self._tokens or not is_number or scale > target_scale or whole + scale > 76:
            raise _NotTranslatedError
        return Formula(text=text, operands=tuple(dict.fromkeys(self._operands)), target=target)

    def _sum(self) -> tuple[str, int, int]:
        text, whole, scale = self._product()
        while self._next("+") or self._next("-"):
            sign = self._last
            right, right_whole, right_scale = self._product()
            text, whole, scale = f"({text} {sign} {right})", max(whole, right_whole) + 1, max(scale, right_scale)
        return text, whole, scale

    def _product(self) -> tuple[str, int, int]:
        text, whole, scale = self._value()
        while self._next("*"):
            right, right_whole, right_scale = self._value()
            text, whole, scale = f"({text} * {right})", whole + right_whole, scale + right_scale
        return text, whole, scale

    def _value(self) -> tuple[str, int, int]:
        if not self._tokens:
            raise _NotTranslatedError
        kind, text = self._tokens.pop(0)
        if text == "(":
            value = self._sum()
            if not self._next(")"):
                raise _NotTranslatedError
        elif kind == "number":
            whole, _, fraction = text.partition(".")
            value = (f"toDecimal256('{text}', {len(fraction)})", len(whole), len(fraction))
        elif kind == "name":
            value = self._column(text)
        else:
            raise _NotTranslatedError
        while self._tokens and self._tokens[0][0] == "cast":
            # A cast to plain numeric changes nothing; one that could round or overflow is not ours to guess.
            if self._tokens.pop(0)[1] != "::numeric":
                raise _NotTranslatedError
        return value

    def _column(self, name: str) -> tuple[str, int, int]:
        column = self._columns.get(name)
        if column is None or column.generated is not None:
            raise _NotTranslatedError
        clickhouse = rule(column).clickhouse
        self._operands.append(name)
        if column.type.name in _DIGITS:
            return f"toDecimal256({{{name}}}, 0)", _DIGITS[column.type.name], 0
        if not clickhouse.startswith("Decimal"):
            raise _NotTranslatedError
        precision, scale = (int(part) for part in clickhouse[8:-1].split(", "))
        return f"toDecimal256({{{name}}}, {scale})", precision - scale, scale

    def _next(self, sign: str) -> bool:
        if self._tokens and self._tokens[0] == ("sign", sign):
            self._last = self._tokens.pop(0)[1]
            return True
        return False
