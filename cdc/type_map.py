"""Which ClickHouse column a PostgreSQL column becomes, and how its text in a change is read: docs/types.md in code.

A rule holds for a value that PostgreSQL accepts. What ClickHouse's type can't hold (infinity, NaN, dates beyond
1900-2299) becomes the nearest value or NULL, and its text is kept in ``_extra``; anything else is quarantined.
"""

from __future__ import annotations

from dataclasses import dataclass

from cdc.table_model import SourceColumn, SourceType

WIDEST_NUMERIC = 75
"""Digits of the widest numeric that becomes a Decimal; ClickHouse counts to 76, and the check of a limit needs one."""
MILLISECOND_DIGITS = 3
"""Up to so many digits of a second a timestamp arrives in milliseconds, with more in microseconds."""
SHORT_CHAR = 4
"""Up to so many characters a char(n) is a code, of which there are few."""


class TypeMapError(Exception):
    """A column can't be carried; the message names it and the cure."""


@dataclass(frozen=True, kw_only=True)
class Rule:
    """How values of one type travel.

    ``convert`` reads the text in ``{}``, and is NULL where it can't. ``beyond`` is true where PostgreSQL's value is
    sound but the column can't hold it. ``expected`` is what a reason in ``ingest_errors`` says was expected.
    """

    clickhouse: str
    convert: str
    expected: str
    beyond: str = ""
    few_values: bool = False
    element: Rule | None = None

    @property
    def is_decimal(self) -> bool:
        """Whether NaN is a sound value that has no place here."""
        return self.clickhouse.startswith("Decimal")


def _number(kind: str) -> Rule:
    return Rule(clickhouse=kind, convert=f"to{kind}OrNull({{}})", expected=kind)


def _text(expected: str = "text", *, few_values: bool = False) -> Rule:
    return Rule(clickhouse="String", convert="_to_text({})", expected=expected, few_values=few_values)


def _decimal(precision: int, scale: int) -> Rule:
    kind = f"Decimal({precision}, {scale})"
    return Rule(
        clickhouse=kind,
        convert=f"_to_decimal_{precision}_{scale}({{}})",
        expected=kind,
        # How Debezium writes NaN.
        beyond="ifNull({} = 'NAN', false)",
    )


_BOOL = Rule(clickhouse="Bool", convert="_to_bool({})", expected="Bool")
_NUMBER = Rule(clickhouse="String", convert="_to_number({})", expected="number")
_BASE64 = Rule(clickhouse="String", convert="_to_base64({})", expected="base64")
_RULES = {
    "int2": _number("Int16"),
    "int4": _number("Int32"),
    "int8": _number("Int64"),
    "oid": _number("UInt32"),
    "float4": _number("Float32"),
    "float8": _number("Float64"),
    "money": _decimal(19, 2),
    "bool": _BOOL,
    "uuid": Rule(clickhouse="UUID", convert="toUUIDOrNull({})", expected="UUID"),
    "bytea": _BASE64,
    "bit": _BASE64,
    "varbit": _BASE64,
    "date": Rule(clickhouse="Date32", convert="_to_date({})", expected="days since 1970", beyond="_beyond_date({})"),
    "timestamptz": Rule(
        clickhouse="DateTime64(6, 'UTC')",
        convert="_to_instant({})",
        expected="ISO time",
        beyond="_beyond_instant({})",
    ),
    "time": Rule(clickhouse="String", convert="_to_clock(toInt64OrNull({}))", expected="microseconds since midnight"),
    **dict.fromkeys(("text", "varchar", "char", "citext", "xml"), _text()),
    **dict.fromkeys(("json", "jsonb", "hstore"), _text("JSON text")),
    **dict.fromkeys(("inet", "cidr", "macaddr", "macaddr8"), _text("address")),
    **dict.fromkeys(("int4range", "int8range", "numrange", "tsrange", "tstzrange", "daterange"), _text("range")),
    **dict.fromkeys(("point", "path", "box"), _text("JSON text")),
    "interval": _text("ISO interval"),
    "timetz": _text("time in UTC"),
    "tsvector": _text("text search vector"),
}
"""Types whose rule needs nothing but their name."""
_ELEMENTS = frozenset(
    {
        *("int2", "int4", "int8", "float4", "float8", "numeric", "bool", "text", "varchar", "bpchar", "citext"),
        *("date", "timestamp", "timestamptz", "uuid", "json", "jsonb", "bytea", "inet", "cidr"),
    }
)
"""Types whose arrays the connector carries; it drops or cuts arrays of others (interval, time, domains)."""


def rule(column: SourceColumn) -> Rule:
    """The rule for a column; raises TypeMapError for a type that the connector does not carry."""
    found = rule_of(column.type)
    if found is None:
        raise TypeMapError(
            f"{column.name} is {column.type.shown or column.type.name}, which the connector does not carry. "
            "Keep the value in a column of another type (text, for example), or leave this one out with --without"
        )
    return found


def rule_of(source: SourceType) -> Rule | None:
    """The rule for a type, None for one that the connector does not carry."""
    if source.element is not None:
        return _array(source.element)
    if source.is_enum:
        return _text(few_values=True)
    match source.name:
        case "numeric":
            return _numeric(source.modifier)
        case "timestamp":
            return _timestamp(source.modifier)
        case "bpchar":
            return _text(few_values=0 <= source.modifier - 4 <= SHORT_CHAR)
    return _RULES.get("bool" if source.name == "bit" and source.modifier in (-1, 1) else source.name)


def _timestamp(digits: int) -> Rule:
    is_millis = 0 <= digits <= MILLISECOND_DIGITS
    micros = "_to_micros(toInt64OrNull({}))" if is_millis else "toInt64OrNull({})"
    return Rule(
        clickhouse="DateTime64(6, 'UTC')",
        convert=f"_to_time({micros})",
        expected=f"{'milli' if is_millis else 'micro'}seconds since 1970",
        beyond=f"_beyond_time({micros})",
    )


def _numeric(modifier: int) -> Rule:
    if modifier < 0:
        # Any number of digits, NaN, Infinity: only text holds them all.
        return _NUMBER
    precision, scale = (modifier - 4) >> 16 & 0xFFFF, ((modifier - 4 & 0x7FF) ^ 1024) - 1024
    precision, scale = (precision - scale, 0) if scale < 0 else (max(precision, scale), scale)
    return _NUMBER if precision > WIDEST_NUMERIC else _decimal(precision, scale)


def _array(source: SourceType) -> Rule | None:
    element = rule_of(source) if source.is_enum or source.name in _ELEMENTS else None
    if element is None:
        return None
    texts = "JSONExtract(ifNull({}, '[]'), 'Array(Nullable(String))')"
    convert, beyond = element.convert.replace("{}", "text"), element.beyond.replace("{}", "text")
    return Rule(
        clickhouse=f"Array(Nullable({element.clickhouse}))",
        convert=f"arrayMap(text -> {convert}, {texts})",
        expected=f"array of {element.expected}",
        beyond=f"(isNull({{}}) OR arrayExists(text -> {beyond}, {texts}))" if beyond else "isNull({})",
        element=element,
    )
