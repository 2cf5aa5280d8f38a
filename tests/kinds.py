"""A table with a column of every kind that is carried, and random values of each: what PostgreSQL takes, what Debezium
makes of it in JSON, and what ClickHouse has to show. docs/types.md as data for tests."""

from __future__ import annotations

import base64
import json
import math
import string
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, Literal

from hypothesis import strategies as st

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
FIRST = datetime(1900, 1, 1, tzinfo=UTC)
LAST = datetime(2299, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=30)


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One value: PostgreSQL's literal ``text``, Debezium's ``json``, and what ClickHouse ``shows``.

    ``beyond`` says that the column can't hold it, so that ``_extra`` has to keep its text.
    """

    text: str | None
    json: Any
    shows: Any
    beyond: bool = False


NULL = Sample(text=None, json=None, shows=None)
NULL_ARRAY = Sample(text=None, json=None, shows=[], beyond=True)
Samples = st.SearchStrategy[Sample]


def _plain(values: st.SearchStrategy[Any]) -> Samples:
    return values.map(lambda value: Sample(text=str(value), json=value, shows=value))


def _odd(*samples: tuple[str, Any, Any], beyond: bool = False) -> Samples:
    return st.sampled_from([Sample(text=text, json=sent, shows=shows, beyond=beyond) for text, sent, shows in samples])


def _decimals(digits: int, scale: int) -> Samples:
    numbers = st.integers(1 - 10**digits, 10**digits - 1).map(lambda number: Decimal(f"{number}e-{scale}"))
    return numbers.map(_exact)


def _exact(number: Decimal) -> Sample:
    return Sample(text=f"{number:f}", json=f"{number:f}", shows=number)


def _floats(width: Literal[32, 64]) -> Samples:
    limit = 2.0**127 if width == 32 else 2.0**1000
    usual = _plain(st.floats(-limit, limit, width=width, allow_subnormal=False))
    return usual | _odd(
        ("NaN", "NaN", math.nan), ("Infinity", "Infinity", math.inf), ("-Infinity", "-Infinity", -math.inf)
    )


def _free(number: Decimal) -> Sample:
    return Sample(text=f"{number:f}", json=f"{number:f}", shows=f"{number:f}")


def _day(day: date) -> Sample:
    nearest = min(max(day, FIRST.date()), LAST.date())
    return Sample(text=day.isoformat(), json=(day - EPOCH.date()).days, shows=nearest, beyond=nearest != day)


def _time(moment: datetime, unit: timedelta) -> Sample:
    nearest = min(max(moment, FIRST), LAST)
    text = moment.replace(tzinfo=None).isoformat(sep=" ")
    return Sample(text=text, json=(moment - EPOCH) // unit, shows=nearest, beyond=nearest != moment)


def _instant(moment: datetime) -> Sample:
    nearest = min(max(moment, FIRST), LAST)
    text = moment.replace(tzinfo=None).isoformat()
    return Sample(text=f"{text}+00", json=f"{text}Z", shows=nearest, beyond=nearest != moment)


def _clock(micros: int) -> Sample:
    minutes, rest = divmod(micros, 60_000_000)
    seconds, fraction = divmod(rest, 1_000_000)
    text = f"{minutes // 60:02}:{minutes % 60:02}:{seconds:02}.{fraction:06}"
    return Sample(text=text, json=micros, shows=text)


def _bytes(value: bytes) -> Sample:
    coded = base64.b64encode(value).decode()
    return Sample(text=f"\\x{value.hex()}", json=coded, shows=coded)


def _bits(length: int) -> Samples:
    def sample(number: int) -> Sample:
        # The connector leaves out high bytes that are zero.
        sent = base64.b64encode(number.to_bytes((length + 7) // 8, "little").rstrip(b"\0")).decode()
        return Sample(text=f"{number:0{length}b}", json=sent, shows=sent)

    return st.integers(0, 2**length - 1).map(sample)


def _document(value: Any) -> Sample:
    text = json.dumps(value)
    return Sample(text=text, json=text, shows=value)


def _array(elements: Samples) -> Samples:
    def sample(items: list[Sample]) -> Sample:
        quoted = ['"' + item.text.replace("\\", "\\\\").replace('"', '\\"') + '"' if item.text is not None else "NULL"
                  for item in items]  # fmt: skip
        return Sample(
            text="{" + ",".join(quoted) + "}",
            json=[item.json for item in items],
            shows=[item.shows for item in items],
            beyond=any(item.beyond for item in items),
        )

    return st.just(NULL_ARRAY) | st.lists(st.just(NULL) | elements, max_size=4).map(sample)


_DATES = st.dates().map(_day)
_TIMES = st.datetimes(timezones=st.just(UTC))
_MILLIS = _TIMES.map(lambda moment: moment.replace(microsecond=moment.microsecond // 1000 * 1000))
_EXACT = _decimals(12, 3)
_DOCUMENTS = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=5,
).map(_document)
_NAN = _odd(("NaN", "NAN", None), beyond=True)
_WORDS = st.text(string.ascii_letters, min_size=1, max_size=10)

COLUMNS: Mapping[str, tuple[str, Samples]] = {
    "small": ("smallint", _plain(st.integers(-(2**15), 2**15 - 1))),
    "whole": ("integer", _plain(st.integers(-(2**31), 2**31 - 1))),
    "big": ("bigint", _plain(st.integers(-(2**63), 2**63 - 1))),
    "exact": ("numeric(12, 3)", _EXACT | _NAN),
    "wide": ("numeric(75, 10)", _decimals(75, 10)),
    "free": (
        "numeric",
        st.integers(-(10**39), 10**39).map(lambda number: _free(Decimal(f"{number}e-9")))
        | _odd(
            ("NaN", "NAN", "NaN"),
            ("Infinity", "POSITIVE_INFINITY", "Infinity"),
            ("-Infinity", "NEGATIVE_INFINITY", "-Infinity"),
            ("0.0000000000000001", "0.0000000000000001", "0.0000000000000001"),
        ),
    ),
    "price": ("money", _decimals(15, 2)),
    "single": ("real", _floats(32)),
    "double": ("double precision", _floats(64)),
    "flag": ("boolean", _plain(st.booleans())),
    "day": ("date", _DATES),
    "local_time": ("timestamp", _TIMES.map(lambda moment: _time(moment, MICROSECOND))),
    "millis": ("timestamp(3)", _MILLIS.map(lambda moment: _time(moment, 1000 * MICROSECOND))),
    "moment": (
        "timestamptz",
        _TIMES.map(_instant)
        | _odd(
            ("infinity", "infinity", LAST),
            ("-infinity", "-infinity", FIRST),
            ("0044-03-15 00:00:00+00 BC", "-0043-03-15T00:00:00.000000Z", FIRST),
            ("12026-01-01 00:00:00+00", "+12026-01-01T00:00:00.000000Z", LAST),
            beyond=True,
        ),
    ),
    "clock": ("time", st.integers(0, 86_400_000_000).map(_clock)),
    "zoned_clock": (
        "timetz",
        _odd(("12:30:00+02", "10:30:00Z", "10:30:00Z"), ("00:00:00+00", "00:00:00Z", "00:00:00Z")),
    ),
    "span": (
        "interval",
        _odd(
            ("1 year 2 mons 3 days 04:05:06.789", "P1Y2M3DT4H5M6.789S", "P1Y2M3DT4H5M6.789S"),
            ("-1 days", "P0Y0M-1DT0H0M0S", "P0Y0M-1DT0H0M0S"),
        ),
    ),
    "document": ("json", _DOCUMENTS),
    "binary_document": ("jsonb", _DOCUMENTS),
    "words": ("text", _plain(TEXT)),
    "short": ("varchar(10)", _plain(_WORDS)),
    "code": ("char(3)", _odd(("a", "a  ", "a  "), ("abc", "abc", "abc"))),
    "known": ("uuid", st.uuids().map(lambda value: Sample(text=str(value), json=str(value), shows=value))),
    "bytes": ("bytea", st.binary(max_size=20).map(_bytes)),
    "bit_flag": ("bit", _odd(("1", True, True), ("0", False, False))),
    "bits": ("bit(12)", _bits(12)),
    "address": (
        "inet",
        _odd(("10.1.2.3", "10.1.2.3", "10.1.2.3"), ("2001:db8::1/64", "2001:db8::1/64", "2001:db8::1/64")),
    ),
    "network": ("cidr", _odd(("10.0.0.0/8", "10.0.0.0/8", "10.0.0.0/8"))),
    "card": ("macaddr", _odd(("08:00:2b:01:02:03", "08:00:2b:01:02:03", "08:00:2b:01:02:03"))),
    "span_of_numbers": ("int4range", _odd(("[1,5)", "[1,5)", "[1,5)"), ("empty", "empty", "empty"))),
    "mood": ("inventory.mood", _odd(("glad", "glad", "glad"), ("sad 'n so", "sad 'n so", "sad 'n so"))),
    "positive": ("inventory.positive", st.integers(1, 10**9).map(lambda number: _exact(Decimal(f"{number}e-3")))),
    "wholes": ("integer[]", _array(_plain(st.integers(-(2**31), 2**31 - 1)))),
    "texts": ("text[]", _array(_plain(TEXT))),
    "exacts": ("numeric(12, 3)[]", _array(_EXACT)),
    "days": ("date[]", _array(_DATES)),
    "moments": ("timestamptz[]", _array(_TIMES.map(_instant))),
    "ids": ("uuid[]", _array(st.uuids().map(lambda value: Sample(text=str(value), json=str(value), shows=value)))),
    "flags": ("boolean[]", _array(_plain(st.booleans()))),
}
"""Each column's type in PostgreSQL and its values that are not NULL (arrays: or NULL)."""
DOCUMENTS = ("document", "binary_document")
SHOWN = ", ".join(
    # The driver's times are floats, which round the last microsecond of the year 2299 up.
    f"arrayMap(item -> toString(item), {name})"
    if name == "moments"
    else f"toString({name})"
    if "time" in kind
    else name
    for name, (kind, _) in COLUMNS.items()
)
"""What to select of the table in ClickHouse."""
TABLE = "inventory.kinds"
DDL = (
    "CREATE TYPE inventory.mood AS ENUM ('glad', 'sad ''n so')",
    "CREATE DOMAIN inventory.positive AS numeric(12, 3) CHECK (VALUE > 0)",
    f"CREATE TABLE {TABLE} (id bigint PRIMARY KEY, "
    + ", ".join(f"{name} {kind}" for name, (kind, _) in COLUMNS.items())
    + ")",
)
"""What makes the table in a database that has the schema ``inventory``."""
UNDO = (
    f"DROP TABLE IF EXISTS {TABLE}",
    "DROP DOMAIN IF EXISTS inventory.positive",
    "DROP TYPE IF EXISTS inventory.mood",
)

Row = Mapping[str, Sample]
ROWS: st.SearchStrategy[Row] = st.fixed_dictionaries(
    {name: samples if kind.endswith("[]") else st.just(NULL) | samples for name, (kind, samples) in COLUMNS.items()}
)


def differences(found: Sequence[Sequence[Any]], rows: Sequence[Row]) -> list[str]:
    """How rows of ``SELECT {SHOWN}, _extra`` differ from what ClickHouse has to show of ``rows``, a line a value."""
    if len(found) != len(rows):
        return [f"{len(found)} rows instead of {len(rows)}"]
    return [
        line for values, row in zip(found, rows, strict=True) for line in _differences(values[:-1], values[-1], row)
    ]


def _differences(values: Sequence[Any], extra: Mapping[str, str], row: Row) -> Iterator[str]:
    for name, value in zip(COLUMNS, values, strict=True):
        seen, expected = _text(value), _text(row[name].shows)
        if name in DOCUMENTS and value is not None:
            # PostgreSQL orders the keys of jsonb as it likes.
            seen, expected = (json.dumps(each, sort_keys=True) for each in (json.loads(value), row[name].shows))
        if seen != expected:
            yield f"{name}: {row[name].text!r} is shown as {seen}, not {expected}"
        if (name in extra) != row[name].beyond:
            yield f"{name}: {row[name].text!r} in _extra: {extra.get(name)!r}"


def _text(value: Any) -> str:
    """Equal for equal values, NaN included; a number of zeros behind the point makes no difference."""
    match value:
        case list() | tuple():
            return f"[{', '.join(_text(item) for item in value)}]"
        case Decimal():
            text = f"{value:f}"
            return text.rstrip("0").rstrip(".") if "." in text else text
        case datetime():
            return repr(value.strftime("%Y-%m-%d %H:%M:%S.%f"))
    return repr(value)
