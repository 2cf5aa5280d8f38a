"""Packets of the native protocol at the revision that this server speaks."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from server import blocks, wire
from server.errors import NOT_IMPLEMENTED, UNKNOWN_PACKET, ServerError
from server.wire import Reader

REVISION: Final = 54460
"""Query parameters (54459) and times in progress (54460); chunked packets and later additions are not spoken."""
OLDEST_REVISION: Final = 54429
"""Below it settings are binary."""

CLIENT_HELLO, CLIENT_QUERY, CLIENT_DATA, CLIENT_CANCEL, CLIENT_PING = range(5)
_HELLO, _DATA, _EXCEPTION, _PROGRESS, _PONG, _END, _PROFILE = range(7)
_PROFILE_EVENTS: Final = 14
_ESCAPED: Final = re.compile(r"\\(.)", re.DOTALL)
_ESCAPES: Final = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "0": "\0", "a": "\a", "v": "\v"}

REVISION_INTERSERVER_SECRET: Final = 54441
REVISION_OPENTELEMETRY: Final = 54442
REVISION_DISTRIBUTED_DEPTH: Final = 54448
REVISION_START_TIME: Final = 54449
REVISION_PARALLEL_REPLICAS: Final = 54453
REVISION_PROFILE_EVENTS: Final = 54456
REVISION_ADDENDUM: Final = 54458
REVISION_PARAMETERS: Final = 54459
REVISION_QUERY_TIME: Final = 54460


@dataclass(frozen=True, kw_only=True)
class Hello:
    """A client's first packet; ``revision`` is the lower one of both sides."""

    client: str
    revision: int
    database: str
    user: str
    password: str


@dataclass(frozen=True, kw_only=True)
class Query:
    """A client's query; settings and parameters as text."""

    id: str
    settings: dict[str, str]
    important: bool
    compressed: bool
    sql: str
    params: dict[str, str]


def read_hello(reader: Reader) -> Hello:
    """Reads the first packet, packet type included."""
    kind = reader.varint()
    if kind != CLIENT_HELLO:
        raise ServerError(UNKNOWN_PACKET, "The client does not speak the native protocol; HTTP has its own port")
    client = reader.string()
    reader.varint(), reader.varint()
    revision = reader.varint()
    database, user, password = reader.string(), reader.string(), reader.string()
    if revision < OLDEST_REVISION:
        raise ServerError(NOT_IMPLEMENTED, f"The client's protocol revision {revision} is older than {OLDEST_REVISION}")
    return Hello(client=client, revision=min(revision, REVISION), database=database, user=user, password=password)


def hello(version: str, timezone: str, display_name: str) -> bytes:
    """The answer to Hello."""
    major, minor, patch = (int(part) for part in version.split(".")[:3])
    numbers = wire.varint(major) + wire.varint(minor) + wire.varint(REVISION)
    return (wire.varint(_HELLO) + wire.string("ClickHouse") + numbers + wire.string(timezone)
            + wire.string(display_name) + wire.varint(patch))  # fmt: skip


def read_query(reader: Reader, revision: int) -> Query:
    """Reads a query behind its packet type."""
    query_id = reader.string()
    _skip_client_info(reader, revision)
    settings, important = _settings(reader)
    if revision >= REVISION_INTERSERVER_SECRET:
        reader.string()
    stage, compressed = reader.varint(), bool(reader.varint())
    sql = reader.string()
    params = _settings(reader)[0] if revision >= REVISION_PARAMETERS else {}
    if stage != 2:
        raise ServerError(NOT_IMPLEMENTED, "Distributed queries to this server are not supported: it is a single node")
    return Query(id=query_id, settings=settings, important=important, compressed=compressed, sql=sql,
                 params={name: _unquoted(value) for name, value in params.items()})  # fmt: skip


def _unquoted(value: str) -> str:
    """A parameter comes as a string literal; the engine wants what is in it, which is escaped once more."""
    if len(value) < 2 or value[0] != "'" or value[-1] != "'":
        return value
    return _ESCAPED.sub(lambda match: _ESCAPES.get(match[1], match[1]), value[1:-1])


def _settings(reader: Reader) -> tuple[dict[str, str], bool]:
    settings: dict[str, str] = {}
    important = False
    while name := reader.string():
        important |= bool(reader.varint() & 1)
        settings[name] = reader.string()
    return settings, important


def _skip_client_info(reader: Reader, revision: int) -> None:
    if not reader.byte():
        return
    reader.string(), reader.string(), reader.string()
    if revision >= REVISION_START_TIME:
        reader.uint64()
    if reader.byte() != 1:
        raise ServerError(NOT_IMPLEMENTED, "The client's query does not come over TCP; this is not supported")
    reader.string(), reader.string(), reader.string()
    reader.varint(), reader.varint(), reader.varint()
    reader.string()
    if revision >= REVISION_DISTRIBUTED_DEPTH:
        reader.varint()
    reader.varint()
    if revision >= REVISION_OPENTELEMETRY and reader.byte():
        reader.bytes(24)
        reader.string()
        reader.byte()
    if revision >= REVISION_PARALLEL_REPLICAS:
        reader.varint(), reader.varint(), reader.varint()


def data(block: bytes) -> bytes:
    """A data packet around a block that is already in the protocol's form."""
    return wire.varint(_DATA) + wire.string("") + block


def exception(error: ServerError, version: str) -> bytes:
    """An exception packet."""
    text = f"DB::Exception: {error.message} ({error.name}) (version {version})"
    code = error.code.to_bytes(4, "little", signed=True)
    return wire.varint(_EXCEPTION) + code + wire.string("DB::Exception") + wire.string(text) + wire.string("") + b"\x00"


def progress(*, rows: int, size: int, written_rows: int, written_bytes: int, elapsed: float, revision: int) -> bytes:
    """A progress packet; ``size`` in bytes, ``elapsed`` in seconds."""
    numbers = [rows, size, 0, written_rows, written_bytes]
    if revision >= REVISION_QUERY_TIME:
        numbers.append(int(elapsed * 1e9))
    return wire.varint(_PROGRESS) + b"".join(wire.varint(number) for number in numbers)


def profile(*, rows: int, block_count: int, size: int) -> bytes:
    """A profile packet: rows, blocks and bytes of the answer."""
    return wire.varint(_PROFILE) + wire.varint(rows) + wire.varint(block_count) + wire.varint(size) + b"\x00\x00\x00"


def profile_events() -> bytes:
    """Profile events without events: clients wait for this packet after each block of an INSERT."""
    return wire.varint(_PROFILE_EVENTS) + wire.string("") + blocks.write(blocks.empty(()), REVISION)


def pong() -> bytes:
    """The answer to Ping."""
    return wire.varint(_PONG)


def end_of_stream() -> bytes:
    """The end of an answer."""
    return wire.varint(_END)
