"""Writes the ClickHouse migration of one table: the templates of ``sql/templates``, filled in from its columns."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Template

from cdc import generated_columns
from cdc.table_model import SourceColumn, SourceTable
from cdc.type_map import Rule, TypeMapError, rule

TEMPLATES = Path(__file__).resolve().parents[1] / "sql" / "templates"
META = (
    *("raw", "operation", "operation_name", "source_time", "source_ts_ms", "lsn", "tx_id", "version", "is_deleted"),
    *("kafka_topic", "kafka_partition", "kafka_offset", "kafka_time", "kafka_key"),
)
"""Names of the pipeline's own columns; so is every name that begins with an underscore."""
STORED = ("_extra", "source_time", "lsn", "version", "is_deleted", "_synced_at")
HIDDEN = ("version", "is_deleted")
"""The pipeline's columns of T_current, and those of them that the view does not show."""
_FUNCTION = re.compile(r"\b_(?:to|beyond)_\w+")
ALWAYS = ("_to_time", "_beyond_time")
"""Functions that every flow needs, for the commit time."""
_PLAIN = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column on its way: from the source's name to ClickHouse's, with the rule for its values.

    ``formula`` computes a generated column, with ``{name}`` for each column it needs.
    """

    source: SourceColumn
    name: str
    rule: Rule
    is_key: bool
    formula: generated_columns.Formula | None = None

    @property
    def type(self) -> str:
        """The column's type in ClickHouse, as ``system.columns`` writes it."""
        if self.rule.element is not None:
            return self.rule.clickhouse
        nullable = self.source.nullable and not self.is_key
        kind = f"Nullable({self.rule.clickhouse})" if nullable else self.rule.clickhouse
        return f"LowCardinality({kind})" if self.has_few_values else kind

    @property
    def has_few_values(self) -> bool:
        """Whether its texts are worth a dictionary."""
        return self.rule.clickhouse == "String" and (self.rule.few_values or self.source.few_values) and not self.is_key

    @property
    def before_type(self) -> str:
        """The type of the value before a change, which is absent in an insert."""
        if self.rule.element is not None:
            return self.rule.clickhouse
        kind = f"Nullable({self.rule.clickhouse})"
        return f"LowCardinality({kind})" if self.has_few_values else kind

    @property
    def codec(self) -> str:
        """The compression that fits the type; empty where a dictionary does the work."""
        if self.has_few_values:
            return ""
        kind = self.rule.clickhouse
        if kind.startswith(("Date", "DateTime")) or (self.is_key and kind.startswith(("Int", "UInt"))):
            return " CODEC(DoubleDelta, ZSTD)"
        narrow = (match := re.match(r"Decimal\((\d+),", kind)) is not None and int(match[1]) <= 18
        return " CODEC(T64, ZSTD)" if narrow or kind.startswith(("Int", "UInt")) else " CODEC(ZSTD)"


def columns(table: SourceTable, without: Iterable[str] = ()) -> tuple[Column, ...]:
    """The columns that ClickHouse gets. Generated ones whose expression is not translated are left out; one that is
    called like a column of the pipeline gets an underscore behind.

    Raises TypeMapError that lists every column that can't be carried.
    """
    left_out, found, findings = set(without), [], []
    reserved = {*META, *(f"before_{column.name}" for column in table.columns)}
    for column in table.columns:
        if column.name in left_out:
            continue
        try:
            formula = generated_columns.translate(column, table.columns) if column.generated is not None else None
            if column.generated is not None and formula is None:
                continue
            is_key = column.name in table.key
            name = f"{column.name}_" if column.name in reserved or column.name.startswith("_") else column.name
            found.append(Column(source=column, name=name, rule=rule(column), is_key=is_key, formula=formula))
            if is_key and found[-1].rule.element is not None:
                findings.append(
                    f"{column.name} is an array and part of the primary key; key the table by another column"
                )
        except TypeMapError as error:
            findings.append(str(error))
    if missing := set(table.key) & left_out:
        findings.append(f"{', '.join(sorted(missing))} is part of the primary key and can't be left out")
    if findings:
        raise TypeMapError(f"{table.full_name} can't be carried as it is:\n" + "\n".join(f"  - {f}" for f in findings))
    return tuple(found)


def migration(table: SourceTable, *, without: Sequence[str] = ()) -> str:
    """The whole file of a new table: data tables, flow and views."""
    found = columns(table, without)
    head = [f"-- {table.full_name}, from topic to view; its shape is explained in 0002_orders.sql."]
    head.append(f"-- Written by `python -m cdc add-table {table.full_name}` from the catalog of PostgreSQL; review it.")
    head += [f"-- {line}" for line in _remarks(table, found, without)]
    values = _values(table, found, without)
    return "\n".join(head) + "\n\n" + fill("table_data", values) + "\n" + fill("table_flow", values)


def flow(table: SourceTable, *, without: Sequence[str] = (), materialized: Sequence[str] = ()) -> str:
    """Only the objects without data, restated; ``materialized`` columns of the data tables are shown by the views."""
    return fill("table_flow", _values(table, columns(table, without), without, materialized))


def _remarks(table: SourceTable, found: Sequence[Column], without: Sequence[str]) -> list[str]:
    lines = [
        f"{c.source.name} is {c.name} here: the pipeline has a column of that name."
        for c in found
        if c.name != c.source.name
    ]
    there = {column.source.name for column in found}
    for column in table.columns:
        if column.name in without:
            lines.append(f"{column.name} ({column.type.shown}) was left out on request; changes carry it in _extra.")
        elif column.name not in there:
            lines.append(
                f"{column.name} is left out: PostgreSQL does not send generated columns, and this one's expression "
                "is not translated."
            )
    return lines


def fill(template: str, values: dict[str, str]) -> str:
    """A template of ``sql/templates`` with its values, the columns of its tables below each other."""
    text = Template((TEMPLATES / f"{template}.sql").read_text(encoding="utf-8")).substitute(values)
    return re.sub(r"(?<=on_cluster}}\n\(\n).*?(?=\n\)\n)", lambda block: _aligned(block[0]), text, flags=re.DOTALL)


def _aligned(lines: str) -> str:
    """Column definitions with their types below each other."""
    pairs = [re.match(r"    (`(?:[^`\\]|\\.)*`|\S+)\s+(.*)", line) for line in lines.split("\n")]
    width = max(len(pair[1]) for pair in pairs if pair)
    return "\n".join(f"    {pair[1]:<{width}} {pair[2]}" for pair in pairs if pair)


def _values(
    table: SourceTable, found: Sequence[Column], without: Sequence[str], materialized: Sequence[str] = ()
) -> dict[str, str]:
    sent = [column for column in table.columns if column.generated is None]
    known = [column for column in sent if column.name not in without]
    others = [column for column in found if not column.is_key]
    key = ", ".join(quoted(column.name) for name in table.key for column in found if column.source.name == name)
    body = {
        "new_values": "\n".join(f"        {_read(c, found, '_new')} AS {quoted(c.name)}," for c in found),
        "old_values": "\n".join(f"        {_read(c, found, '_old')} AS {quoted('before_' + c.name)}," for c in others),
        "key_differs": " OR ".join(
            f"{_read(c, found, '_message.before')} != {_read(c, found, '_message.after')}" for c in found if c.is_key
        ),
        "beyond": _beyond(found).replace("\n", "\n    "),
        "is_beyond": " OR ".join(flag for _, flag in _flags(found)) or "false",
        "checks": "\n".join([*_new_checks(found), *_old_checks(others)]),
    }
    names = [quoted(column.name) for column in found]
    return {
        **body,
        "table": table.name,
        "source": table.full_name,
        "key": key,
        "current_key": key if len(table.key) == 1 else f"({key})",
        "table_comment": f"\nCOMMENT {literal(table.comment)}" if table.comment else "",
        "final_columns": _listed([(c.name, f"{c.type}{c.codec}{column_comment(c)}") for c in found]),
        "before_columns": _listed([(f"before_{c.name}", f"{c.before_type}{before_codec(c)}") for c in others]),
        "current_columns": _listed([(c.name, f"{c.type}{c.codec}{column_comment(c)}") for c in found]),
        "parsed_columns": _listed(
            [(c.name, _parsed(c)) for c in found] + [(f"before_{c.name}", _parsed(c)) for c in others]
        ),
        "stored": _wrapped([*names, *STORED]),
        "stored_and_made": _wrapped([*names, *STORED, *map(quoted, materialized)]),
        "shown": _wrapped([*names, *(name for name in STORED if name not in HIDDEN), *map(quoted, materialized)]),
        "json_columns": _inside_literal(", ".join(f"{quoted(c.name)} Nullable(String)" for c in known)),
        "json_names": ", ".join(literal(column.name) for column in known),
        "conversions": textwrap.indent(conversions("\n".join(body.values()), ALWAYS), "    "),
        "check_conversions": "".join(f"{line}\n" for line in conversions(body["checks"]).splitlines()),
        "key_conversions": "".join(f"        {line}\n" for line in conversions(body["key_differs"]).splitlines()),
    }


def _read(column: Column, found: Sequence[Column], image: str) -> str:
    """The expression that reads a column's value from an image of the row."""
    if column.formula is None:
        return column.rule.convert.replace("{}", f"{image}.{quoted(column.source.name)}")
    operands = {other.source.name: other for other in found}
    return column.formula.sql({name: _read(operands[name], found, image) for name in column.formula.operands})


def _flags(found: Sequence[Column]) -> list[tuple[str, str]]:
    """For each column whose values may not fit: its name, and the expression that says so."""
    return [
        (c.source.name, c.rule.beyond.replace("{}", f"_new.{quoted(c.source.name)}"))
        for c in found
        # What has no place in a required Decimal is quarantined: there is no nearest value to NaN.
        if c.rule.beyond and c.formula is None and (c.source.nullable or not c.rule.is_decimal)
    ]


def _beyond(found: Sequence[Column]) -> str:
    """The array of the names of values that are sound but do not fit."""
    flags = _flags(found)
    if not flags:
        return "CAST([], 'Array(String)')"
    pairs = ",\n        ".join(f"({literal(name)}, {flag})" for name, flag in flags)
    return f"arrayMap(item -> item.1, arrayFilter(item -> item.2, [\n        {pairs}]))"


def _new_checks(found: Sequence[Column]) -> list[str]:
    lines = []
    for c in found:
        name, text = quoted(c.name), f"_new.{quoted(c.source.name)}"
        if c.formula is not None:
            failed = f"isNull({name})" if not c.source.nullable else f"isNull({name}) AND {c.formula.present('_new')}"
            lines.append(f"        {failed}, {literal(c.name + ' is out of range')},")
            continue
        required = not c.source.nullable or c.is_key
        if c.rule.element is not None:
            unread = _array_unread(c.rule.element, text)
            failed = f"isNull({text}) OR {unread}" if required else unread
        elif required:
            failed = f"isNull({name})"
        else:
            failed = f"_unreadable({name}, {text})" + _unless_nan(c, text)
        lines.append(f"        {failed}, _explain({literal(c.name)}, {literal(c.rule.expected)}, {text}),")
    return lines


def _old_checks(others: Sequence[Column]) -> list[str]:
    lines = []
    for c in others:
        if c.formula is not None:
            continue
        text = f"_old.{quoted(c.source.name)}"
        unread = (
            _array_unread(c.rule.element, text)
            if c.rule.element
            else f"_unreadable({quoted('before_' + c.name)}, {text})"
        )
        failed = unread if c.rule.element else unread + _unless_nan(c, text)
        lines.append(f"        {failed}, _explain({literal('before.' + c.name)}, {literal(c.rule.expected)}, {text}),")
    return lines


def _unless_nan(column: Column, text: str) -> str:
    return f" AND {text} != 'NAN'" if column.rule.is_decimal else ""


def _array_unread(element: Rule, text: str) -> str:
    """Whether a text is no array, or an element of it is no value."""
    value = element.convert.replace("{}", "item")
    items = f"JSONExtract(ifNull({text}, '[]'), 'Array(Nullable(String))')"
    unread = f"isNotNull(item) AND isNull({value})" + (" AND item != 'NAN'" if element.is_decimal else "")
    return f"NOT startsWith(ifNull({text}, '['), '[') OR arrayExists(item -> {unread}, {items})"


def _parsed(column: Column) -> str:
    return column.rule.clickhouse if column.rule.element is not None else f"Nullable({column.rule.clickhouse})"


def before_codec(column: Column) -> str:
    """The compression of the value before a change."""
    return "" if column.has_few_values else " CODEC(ZSTD)" if "Delta" in column.codec else column.codec


def column_comment(column: Column) -> str:
    """The comment clause of a column's definition, empty where there is nothing to say."""
    text = column.source.comment
    if column.rule.expected == "base64":
        text = f"{text} (base64)" if text else "base64"
    return f" COMMENT {literal(text)}" if text else ""


def conversions(text: str, always: Iterable[str] = ()) -> str:
    """The functions that the text uses, and those that they use, in the order of the library."""
    library = _library()
    wanted, new = set(always), set(_FUNCTION.findall(text))
    while new:
        wanted |= new
        new = {name for known in new for name in _FUNCTION.findall(_block(known, library))} - wanted
    order = list(library)
    chosen = sorted(wanted, key=lambda name: (order.index(_library_name(name)), name))
    return "\n".join(_block(name, library) for name in chosen)


def _library() -> dict[str, str]:
    """The functions of the library by name, each with the comment above it."""
    blocks = (TEMPLATES / "conversions.sql").read_text(encoding="utf-8").strip().split("\n\n")
    return {block.rsplit(" AS ", 1)[1].strip(): block for block in blocks if " AS _" in block}


def _library_name(name: str) -> str:
    return "_to_decimal_${precision}_${scale}" if name.startswith("_to_decimal_") else name


def _block(name: str, library: dict[str, str]) -> str:
    block = library[_library_name(name)]
    if name.startswith("_to_decimal_"):
        precision, scale = (int(part) for part in name.rsplit("_", 2)[1:])
        bits = 128 if precision <= 28 else 256
        room = (38 if bits == 128 else 76) - precision
        block = Template(block).substitute(
            precision=precision, scale=scale, bits=bits, wider=scale + min(room, 10), zeros="0" * (precision - scale)
        )
    return "\n".join(f"    {line}" for line in block.split("\n")) + ","


def _listed(items: Sequence[tuple[str, str]]) -> str:
    return "\n".join(f"    {quoted(name)} {text}," for name, text in items)


def _wrapped(names: Sequence[str]) -> str:
    return textwrap.fill(", ".join(names), 116, initial_indent="    ", subsequent_indent="    ", break_on_hyphens=False)


def quoted(name: str) -> str:
    """An identifier, in backticks where it needs them."""
    return name if _PLAIN.fullmatch(name) else "`" + name.replace("\\", "\\\\").replace("`", "\\`") + "`"


def literal(text: str) -> str:
    """A string literal of ClickHouse; braces can't be taken for a parameter of the migrations."""
    return "'" + _inside_literal(text).replace("{{", "{ {") + "'"


def _inside_literal(text: str) -> str:
    return text.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n")
