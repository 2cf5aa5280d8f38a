"""The two tables of a comparison: digests, hashes, keys and values of PostgreSQL's table and of ClickHouse's view."""
# ruff: noqa: S608  (identifiers cannot be query parameters; they come from the two catalogs, quoted)

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from clickhouse_driver import Client

from cdc.canonical import Shape, literal, quoted, ticked
from cdc.postgres import Connection, table_identifier
from cdc.ranges import Digest, Key, Range

HASH_BITS = 60
"""Of a key's hash, where that is its position: all of them fit a signed 64-bit number."""
TWICE = 1 << 64
"""In place of the hash of a key that the view shows more than once: no row's hash, which has 64 bits."""
KEYS_AT_ONCE = 2000
SESSION = (
    "SET TimeZone = 'UTC'",
    "SET DateStyle = 'ISO, YMD'",
    "SET IntervalStyle = 'postgres'",
    "SET extra_float_digits = 1",
    "SET statement_timeout = 0",
    "SET idle_in_transaction_session_timeout = 0",
    "SET cursor_tuple_fraction = 1",
)
"""So that values have the same text whatever the server's settings are."""


@dataclass(frozen=True, kw_only=True)
class SourceRow:
    """A row of PostgreSQL at one moment; ``writer`` changes with every write to it."""

    hash: int
    writer: str


@dataclass(frozen=True, kw_only=True)
class TargetRow:
    """A row of ClickHouse; ``lsn`` is where its last change was written."""

    hash: int
    lsn: int


def prepare(connection: Connection) -> None:
    """Make a session's texts canonical."""
    for statement in SESSION:
        connection.execute(statement.encode())


class SourceTable:
    """A table of PostgreSQL, read within the transaction of ``connection``."""

    def __init__(self, connection: Connection, shape: Shape) -> None:
        self._connection = connection
        self._shape = shape
        self._name = table_identifier(shape.table).as_string(connection)
        self._hash = f"('x' || substr(md5({shape.source_row}), 1, 16))::bit(64)::bigint"
        key = _framed([column.source for column in shape.key], "octet_length({})", " || ")
        self._position = (
            quoted(shape.position) if shape.position else f"('x0' || substr(md5({key}), 1, 15))::bit(64)::bigint"
        )
        self._keys = ", ".join(column.source for column in shape.key)

    def bounds(self) -> tuple[int, int] | None:
        """Lowest and highest position; None for an empty table. Only for whole-number keys."""
        found = self._rows(f"SELECT min({self._position})::bigint, max({self._position})::bigint FROM {self._name}")[0]
        return None if found[0] is None else (int(found[0]), int(found[1]))

    def digests(self, within: Range, width: int) -> Mapping[int, Digest]:
        """See ``ranges.Side``."""
        query = (
            f"SELECT (place - {within.low}::bigint) / {width}::bigint, count(*), bit_xor(hash) FROM"
            f" (SELECT {self._position} AS place, {self._hash} AS hash FROM {self._name}) AS compared"
            f" WHERE place >= {within.low}::bigint AND place < {within.high}::bigint GROUP BY 1"
        )
        return {int(number): Digest(rows=int(count), hash=int(digest)) for number, count, digest in self._rows(query)}

    def hashes(self, ranges: Sequence[Range]) -> Mapping[Key, int]:
        """See ``ranges.Side``."""
        inside = " OR ".join(f"place >= {each.low}::bigint AND place < {each.high}::bigint" for each in ranges)
        names = ", ".join(f"k{number}" for number in range(len(self._shape.key)))
        aliased = ", ".join(f"{column.source} AS k{number}" for number, column in enumerate(self._shape.key))
        query = (
            f"SELECT hash, {names} FROM (SELECT {self._position} AS place, {self._hash} AS hash, {aliased}"
            f" FROM {self._name}) AS compared WHERE {inside}"
        )
        return {tuple(key): int(digest) for digest, *key in self._rows(query)}

    def rows(self, keys: Sequence[Key]) -> Mapping[Key, SourceRow]:
        """Those of ``keys`` that are there."""
        found: dict[Key, SourceRow] = {}
        for some in _chunks(keys):
            query = f"SELECT {self._hash}, xmin::text, {self._keys} FROM {self._name} WHERE {self.condition()}"
            for digest, writer, *key in self._rows(query, *_by_column(some)):
                found[tuple(key)] = SourceRow(hash=int(digest), writer=writer)
        return found

    def values(self, keys: Sequence[Key]) -> Mapping[Key, tuple[str | None, ...]]:
        """The texts of all compared columns of ``keys``."""
        texts = ", ".join(column.source for column in self._shape.columns)
        found: dict[Key, tuple[str | None, ...]] = {}
        for some in _chunks(keys):
            query = f"SELECT {self._keys}, {texts} FROM {self._name} WHERE {self.condition()}"
            for row in self._rows(query, *_by_column(some)):
                found[tuple(row[: len(self._shape.key)])] = tuple(row[len(self._shape.key) :])
        return found

    def condition(self) -> str:
        """A condition for keys whose texts come as one array for each key column."""
        names = [f"k{number}" for number in range(len(self._shape.key))]
        casts = ", ".join(f"{name}::{column.type}" for name, column in zip(names, self._shape.key, strict=True))
        arrays = ", ".join("%s::text[]" for _ in names)
        columns = ", ".join(quoted(column.name) for column in self._shape.key)
        return f"({columns}) IN (SELECT {casts} FROM unnest({arrays}) AS keys ({', '.join(names)}))"

    def _rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        return self._connection.execute(query.encode(), values or None).fetchall()


class TargetTable:
    """The view of the current rows in ClickHouse."""

    def __init__(self, client: Client, shape: Shape) -> None:
        self._client = client
        self._shape = shape
        self._hash = f"reinterpretAsInt64(reverse(substring(MD5({shape.target_row}), 1, 8)))"
        key = _framed([column.target for column in shape.key], "toString(length({}))", ", ")
        hashed = f"toInt64(bitShiftRight(reinterpretAsUInt64(reverse(substring(MD5(concat('', {key})), 1, 8))), 4))"
        self._position = ticked(shape.key[0].target_name) if shape.position else hashed
        self._keys = ", ".join(column.target for column in shape.key)

    def bounds(self) -> tuple[int, int] | None:
        """Lowest and highest position; None for an empty view. Only for whole-number keys."""
        query = f"SELECT min({self._position}), max({self._position}), count() FROM {ticked(self._shape.view)}"
        low, high, count = self._rows(query)[0]
        return (int(low), int(high)) if count else None

    def digests(self, within: Range, width: int) -> Mapping[int, Digest]:
        """See ``ranges.Side``."""
        query = (
            f"SELECT intDiv(toInt64(_position) - {within.low}, {width}) AS bucket, count(), groupBitXor(_hash) FROM"
            f" (SELECT {self._position} AS _position, {self._hash} AS _hash FROM {ticked(self._shape.view)})"
            f" WHERE _position >= {within.low} AND _position < {within.high} GROUP BY bucket"
        )
        return {
            int(number): Digest(rows=int(count), hash=_signed(int(digest)))
            for number, count, digest in self._rows(query)
        }

    def hashes(self, ranges: Sequence[Range]) -> Mapping[Key, int]:
        """See ``ranges.Side``."""
        inside = " OR ".join(f"_position >= {each.low} AND _position < {each.high}" for each in ranges)
        query = (
            f"SELECT _hash, _key FROM (SELECT {self._position} AS _position, {self._hash} AS _hash, [{self._keys}] AS"
            f" _key FROM {ticked(self._shape.view)}) WHERE {inside}"
        )
        found: dict[Key, int] = {}
        for digest, key in self._rows(query):
            found[tuple(key)] = TWICE if tuple(key) in found else int(digest)
        return found

    def rows(self, keys: Sequence[Key]) -> Mapping[Key, TargetRow]:
        """Those of ``keys`` that are there."""
        found: dict[Key, TargetRow] = {}
        for some in _chunks(keys):
            query = (
                f"SELECT {self._hash}, lsn, [{self._keys}] FROM {ticked(self._shape.view)} WHERE {self.condition(some)}"
            )
            for digest, lsn, key in self._rows(query):
                hash_ = TWICE if tuple(key) in found else int(digest)
                found[tuple(key)] = TargetRow(hash=hash_, lsn=int(lsn))
        return found

    def values(self, keys: Sequence[Key]) -> Mapping[Key, tuple[str | None, ...]]:
        """The texts of all compared columns of ``keys``."""
        texts = ", ".join(column.target for column in self._shape.columns)
        found: dict[Key, tuple[str | None, ...]] = {}
        for some in _chunks(keys):
            query = f"SELECT [{self._keys}], {texts} FROM {ticked(self._shape.view)} WHERE {self.condition(some)}"
            found |= {tuple(row[0]): tuple(row[1:]) for row in self._rows(query)}
        return found

    def condition(self, keys: Sequence[Key]) -> str:
        """A condition for ``keys``, which uses the sorting key where that is a whole number."""
        if self._shape.position:
            return f"{self._position} IN ({', '.join(str(int(key[0])) for key in keys)})"
        listed = ", ".join(f"[{', '.join(literal(text) for text in key)}]" for key in keys)
        return f"[{self._keys}] IN ({listed})"

    def _rows(self, query: str) -> list[tuple[Any, ...]]:
        return list(self._client.execute(query))


def _framed(texts: Sequence[str], length: str, separator: str) -> str:
    """SQL for one text of several, each with its length in bytes before it, so that they can't run together."""
    parts = [f"{length.replace('{}', text)}{separator}':'{separator}{text}" for text in texts]
    return separator.join(parts)


def _signed(number: int) -> int:
    return number - (1 << 64) if number >= 1 << 63 else number


def _chunks(keys: Sequence[Key]) -> list[Sequence[Key]]:
    return [keys[start : start + KEYS_AT_ONCE] for start in range(0, len(keys), KEYS_AT_ONCE)]


def _by_column(keys: Sequence[Key]) -> list[list[str]]:
    return [list(column) for column in zip(*keys, strict=True)]
