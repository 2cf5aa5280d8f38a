"""A source table as the generator of migrations sees it, read from PostgreSQL's catalog."""

from __future__ import annotations

from dataclasses import dataclass, field

from cdc.postgres import Connection, PostgresError, rows

COLUMNS_QUERY = """
WITH RECURSIVE base AS (
    SELECT a.attnum, a.atttypid AS type, a.atttypmod AS modifier, a.attnotnull AS required
      FROM pg_attribute a WHERE a.attrelid = %s::regclass AND a.attnum > 0 AND NOT a.attisdropped
    UNION ALL
    SELECT base.attnum, t.typbasetype, t.typtypmod, base.required OR t.typnotnull
      FROM base JOIN pg_type t ON t.oid = base.type AND t.typtype = 'd'),
typed AS (
    SELECT base.attnum, bool_or(base.required) OVER (PARTITION BY base.attnum) AS required, base.modifier,
           t.oid, t.typname, t.typtype, t.typelem, t.typcategory
      FROM base JOIN pg_type t ON t.oid = base.type)
SELECT a.attname::text, typed.typname::text, typed.typtype::text, typed.modifier, NOT typed.required,
       element.typname::text, element.typtype::text,
       CASE WHEN a.attgenerated <> '' THEN pg_get_expr(d.adbin, d.adrelid) END,
       coalesce(col_description(a.attrelid, a.attnum), ''),
       coalesce(array_position(key.indkey::int2[], a.attnum), -1),
       EXISTS (SELECT FROM pg_constraint c WHERE c.conrelid = a.attrelid AND c.contype = 'c'
                  AND c.conkey = ARRAY[a.attnum] AND pg_get_constraintdef(c.oid) ~ '= ANY .*ARRAY\\['),
       format_type(a.atttypid, a.atttypmod)
  FROM pg_attribute a
  JOIN typed ON typed.attnum = a.attnum AND typed.typtype <> 'd'
  LEFT JOIN pg_type element ON element.oid = typed.typelem AND typed.typcategory = 'A'
  LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
  LEFT JOIN pg_index key ON key.indrelid = a.attrelid AND key.indisprimary
 WHERE a.attrelid = %s::regclass AND a.attnum > 0 AND NOT a.attisdropped
 ORDER BY a.attnum
"""


@dataclass(frozen=True, kw_only=True)
class SourceType:
    """A base type by its name in ``pg_type`` (domains are resolved). ``modifier`` is the catalog's typmod, -1 without;
    ``element`` is the type of an array's elements; ``shown`` is the type as a person writes it."""

    name: str
    modifier: int = -1
    is_enum: bool = False
    element: SourceType | None = None
    shown: str = field(default="", compare=False)


@dataclass(frozen=True, kw_only=True)
class SourceColumn:
    """One column. ``generated`` is the expression of a generated column, ``few_values`` that a CHECK lists them."""

    name: str
    type: SourceType
    nullable: bool = True
    generated: str | None = None
    comment: str = ""
    few_values: bool = False


@dataclass(frozen=True, kw_only=True)
class SourceTable:
    """A captured table. ``key`` names the columns of its primary key in the key's order."""

    schema: str
    name: str
    columns: tuple[SourceColumn, ...]
    key: tuple[str, ...]
    comment: str = ""

    @property
    def full_name(self) -> str:
        """``schema.table``."""
        return f"{self.schema}.{self.name}"


def read_table(connection: Connection, table: str) -> SourceTable:
    """Describe ``schema.table`` from the catalog; raises PostgresError when it is missing or has no primary key."""
    found = rows(connection, "SELECT to_regclass(%s)::oid, obj_description(to_regclass(%s), 'pg_class')", table, table)
    if found[0][0] is None:
        raise PostgresError(f"{table} does not exist in this database. Create it, or correct the name.")
    schema, _, name = table.partition(".")
    columns, places = [], {}
    for row in rows(connection, COLUMNS_QUERY, table, table):
        columns.append(_column(row))
        if row[9] >= 0:
            places[str(row[0])] = int(row[9])
    if not places:
        raise PostgresError(
            f"{table} has no primary key, rows could not be told apart. ALTER TABLE ... ADD PRIMARY KEY"
        )
    return SourceTable(
        schema=schema,
        name=name,
        columns=tuple(columns),
        key=tuple(sorted(places, key=lambda column: places[column])),
        comment=str(found[0][1] or ""),
    )


def _column(row: tuple[object, ...]) -> SourceColumn:
    name, type_name, kind, modifier, nullable, element, element_kind, generated, comment, _, few_values, shown = row
    inner = None
    if element is not None:
        inner = SourceType(name=str(element), modifier=int(str(modifier)), is_enum=element_kind == "e")
    return SourceColumn(
        name=str(name),
        type=SourceType(
            name=str(type_name), modifier=int(str(modifier)), is_enum=kind == "e", element=inner, shown=str(shown)
        ),
        nullable=bool(nullable),
        generated=None if generated is None else str(generated),
        comment=str(comment),
        few_values=bool(few_values),
    )
