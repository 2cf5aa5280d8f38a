"""One text for a value, made alike by PostgreSQL and by ClickHouse, so that rows can be compared by a hash of it.

What ClickHouse's type can't hold (infinity, years before 1900 and after 2299, NaN of a Decimal) is compared as what
takes its place there. Types whose text the connector changes on the way are not compared, and said to be so.
"""

# ruff: noqa: S608  (identifiers cannot be query parameters; they come from the two catalogs, quoted)

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from cdc.table_model import SourceColumn, SourceTable, SourceType

NULL = "~"
"""Stands for NULL; no value's text, because texts are written with their length before them."""
_SCALE = re.compile(r"Decimal\(\d+, (\d+)\)")
_WRAPPED = re.compile(r"(?:LowCardinality|Nullable)\((.*)\)")
_INTEGERS = frozenset({"int2", "int4", "int8", "oid"})
_FREE_TEXTS = frozenset(
    {"text", "varchar", "name", "citext", "xml", "json", "jsonb", "inet", "cidr", "macaddr", "macaddr8", "ltree"}
)
_DAYS = ("DATE '1900-01-01'", "DATE '2299-12-31'")
_TIMES = ("TIMESTAMP '1900-01-01'", "TIMESTAMP '2299-12-31 23:59:59.999999'")
_TRIMMED_TIME = "trim(TRAILING '.' FROM trim(TRAILING '0' FROM toString({})))"


@dataclass(frozen=True, kw_only=True)
class Texts:
    """Expressions for the text of the value ``{}``; ``free`` where it can hold any character."""

    source: str
    target: str
    free: bool = False


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column on both sides; ``source`` and ``target`` are SQL that makes its text, NULL for NULL.

    ``type`` is PostgreSQL's, ``target_name`` the column in ClickHouse.
    """

    name: str
    target_name: str
    type: str
    source: str
    target: str
    free: bool


@dataclass(frozen=True, kw_only=True)
class Shape:
    """What is compared of a table; ``skipped`` names the columns that are not, each with the reason."""

    table: str
    view: str
    key: tuple[Column, ...]
    columns: tuple[Column, ...]
    position: str
    """The key's only column where it is a whole number, empty otherwise."""
    skipped: tuple[str, ...]

    @property
    def source_row(self) -> str:
        """SQL for a row's text in PostgreSQL."""
        parts = (
            f"coalesce(octet_length({c.source}) || ':' || {c.source}, '{NULL}')"
            if c.free
            else f"coalesce({c.source}, '{NULL}')"
            for c in self.columns
        )
        return " || '|' || ".join(parts)

    @property
    def target_row(self) -> str:
        """SQL for the same text in ClickHouse."""
        parts = (
            f"ifNull(concat(toString(length({c.target})), ':', {c.target}), '{NULL}')"
            if c.free
            else f"ifNull({c.target}, '{NULL}')"
            for c in self.columns
        )
        return "concat('', " + ", '|', ".join(parts) + ")"


def shape(table: SourceTable, target: Mapping[str, str]) -> Shape:
    """How ``table`` is compared with a view whose columns and types are ``target``."""
    columns, skipped = [], []
    for column in table.columns:
        name = column.name if column.name in target else f"{column.name}_"
        if name not in target:
            skipped.append(f"{column.name} (has no column in ClickHouse)")
            continue
        texts = texts_of(column.type, target[name])
        if texts is None:
            skipped.append(f"{column.name} ({column.type.shown or column.type.name} is not compared)")
            continue
        columns.append(_column(column, name, texts))
    key = tuple(column for name in table.key for column in columns if column.name == name)
    if len(key) < len(table.key):
        raise ValueError(f"{table.full_name}: the primary key ({', '.join(table.key)}) can't be compared: {skipped}")
    types = {column.name: column.type.name for column in table.columns}
    whole = len(key) == 1 and types[key[0].name] in _INTEGERS
    return Shape(
        table=table.full_name,
        view=table.name,
        key=key,
        columns=tuple(columns),
        position=key[0].name if whole else "",
        skipped=tuple(skipped),
    )


def texts_of(source: SourceType, target: str) -> Texts | None:
    """How a type's values become text; None for a pair that can't be compared."""
    if source.element is not None:
        return _array(source.element, target)
    bare = _bare(target)
    name = "text" if source.is_enum else source.name
    if name in _INTEGERS and "Int" in bare:
        return Texts(source="{}::text", target="toString({})")
    if name in ("numeric", "money") and (scale := _SCALE.fullmatch(bare)):
        digits = int(scale[1])
        return Texts(source=_decimal(source, digits), target=f"toDecimalString({{}}, {digits})")
    if name == "bpchar":
        # PostgreSQL takes the blanks at the end for nothing; its text has none.
        return Texts(source="{}::text", target="trim(TRAILING ' ' FROM {})", free=True)
    if bare == "String" and (name in _FREE_TEXTS or name.endswith("range") or name == "numeric"):
        return Texts(source="{}::text", target="toString({})", free=True)
    return _SIMPLE.get((name, bare))


def literal(text: str) -> str:
    """A string literal of ClickHouse."""
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def quoted(name: str) -> str:
    """An identifier of PostgreSQL."""
    return '"' + name.replace('"', '""') + '"'


def ticked(name: str) -> str:
    """An identifier of ClickHouse."""
    return "`" + name.replace("\\", "\\\\").replace("`", "\\`") + "`"


def _column(column: SourceColumn, name: str, texts: Texts) -> Column:
    return Column(
        name=column.name,
        target_name=name,
        type=column.type.shown or column.type.name,
        source=texts.source.replace("{}", quoted(column.name)),
        target=texts.target.replace("{}", ticked(name)),
        free=texts.free,
    )


def _bare(target: str) -> str:
    while match := _WRAPPED.fullmatch(target):
        target = match[1]
    return target


def _decimal(source: SourceType, digits: int) -> str:
    if source.name == "money":
        return f"{{}}::numeric(40, {digits})::text"
    declared = ((source.modifier - 4 & 0x7FF) ^ 1024) - 1024 if source.modifier >= 0 else None
    value = "nullif({}, 'NaN')"
    return f"{value}::text" if declared == digits else f"round({value}, {digits})::text"


def _clamped(value: str, ends: tuple[str, str]) -> str:
    low, high = ends
    return f"(CASE WHEN {value} < {low} THEN {low} WHEN {value} > {high} THEN {high} ELSE {value} END)::text"


def _float(width: int) -> Texts:
    # By their bits: the two engines write exponents differently.
    bits = (
        f"('x' || encode(float{width // 8}send({{}}), 'hex'))::bit({width})::{'int' if width == 32 else 'bigint'}::text"
    )
    return Texts(
        source=f"CASE WHEN {{}} = 'NaN' THEN 'NaN' ELSE {bits} END",
        target=f"if(isNaN({{}}), 'NaN', toString(reinterpretAsInt{width}({{}})))",
    )


def _array(element: SourceType, target: str) -> Texts | None:
    match = re.fullmatch(r"Array\((.*)\)", target)
    inner = texts_of(element, match[1]) if match else None
    if inner is None:
        return None
    source, item = inner.source.replace("{}", "item"), inner.target.replace("{}", "item")
    if inner.free:
        source = f"octet_length({source}) || ':' || {source}"
        item = f"concat(toString(length({item})), ':', {item})"
    # ClickHouse has no NULL in place of an array.
    return Texts(
        source=f"coalesce((SELECT string_agg(coalesce({source}, '{NULL}'), ',' ORDER BY place)"
        " FROM unnest({}) WITH ORDINALITY AS items (item, place)), '')",
        target=f"arrayStringConcat(arrayMap(item -> ifNull({item}, '{NULL}'), {{}}), ',')",
    )


_TIME = "DateTime64(6, 'UTC')"
_SIMPLE = {
    ("bool", "Bool"): Texts(source="{}::text", target="toString({})"),
    ("bit", "Bool"): Texts(source="({} = B'1')::text", target="toString({})"),
    ("date", "Date32"): Texts(source=_clamped("{}", _DAYS), target="toString({})"),
    ("timestamp", _TIME): Texts(source=_clamped("{}", _TIMES), target=_TRIMMED_TIME),
    ("timestamptz", _TIME): Texts(source=_clamped("({} AT TIME ZONE 'UTC')", _TIMES), target=_TRIMMED_TIME),
    ("float4", "Float32"): _float(32),
    ("float8", "Float64"): _float(64),
    ("uuid", "UUID"): Texts(source="{}::text", target="toString({})"),
    ("time", "String"): Texts(source="to_char({}, 'HH24:MI:SS.US')", target="toString({})"),
    ("bytea", "String"): Texts(source="replace(encode({}, 'base64'), E'\\n', '')", target="toString({})"),
}
