"""The search for differing keys, against two tables in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from operator import xor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cdc.ranges import BATCH_ROWS, FAN, Digest, Found, Key, Range, compare

WHOLE = Range(low=-5_000_000, high=5_000_001)
Rows = dict[int, int]


@dataclass
class Table:
    """Rows by position; counts what it was asked."""

    rows: Rows
    read: int = 0
    asked: list[Range] = field(default_factory=list)

    def digests(self, within: Range, width: int) -> Mapping[int, Digest]:
        assert -(-within.length // width) <= FAN
        self.asked.append(within)
        buckets: dict[int, list[int]] = {}
        for position, value in self.rows.items():
            if within.low <= position < within.high:
                buckets.setdefault((position - within.low) // width, []).append(value)
        return {number: Digest(rows=len(each), hash=reduce(xor, each)) for number, each in buckets.items()}

    def hashes(self, ranges: Sequence[Range]) -> Mapping[Key, int]:
        found: dict[Key, int] = {
            (str(position),): value
            for position, value in self.rows.items()
            if any(each.low <= position < each.high for each in ranges)
        }
        self.read += len(found)
        return found


def found(left: Rows, right: Rows, *, leaf: int = 8, most_keys: int = 10**9) -> Found:
    return compare(Table(left), Table(right), [WHOLE], most_keys=most_keys, report=lambda _line: None, leaf=leaf)


def brute(left: Rows, right: Rows) -> set[Key]:
    return {(str(key),) for key in left.keys() | right.keys() if left.get(key) != right.get(key)}


# Hashes of real rows differ from row to row, because the key is part of what is hashed.
positions = st.one_of(st.integers(-5_000_000, 5_000_000), st.integers(-20, 20))
rows = st.dictionaries(positions, st.just(0), max_size=60).map(lambda keys: {key: hash((key, "v1")) for key in keys})


# No deadline: the pool's threads start late on a busy machine, which says nothing of the search.
@settings(deadline=None)
@given(rows, rows, st.sets(positions, max_size=5), st.integers(1, 20))
def test_exactly_the_differing_keys_are_found(left: Rows, right: Rows, changed: set[int], leaf: int) -> None:
    right = {key: hash((key, "v2")) if key in changed else value for key, value in right.items()}
    result = found(left, right, leaf=leaf)
    assert set(result.keys) == brute(left, right)
    assert len(result.keys) == len(set(result.keys))
    assert (result.rows_source, result.rows_target) == (len(left), len(right))
    assert result.cut_off == ()


def test_equal_tables_are_read_once_and_no_key_is_fetched() -> None:
    rows = {key: hash(key) for key in range(20_000)}
    left, right = Table(rows), Table(dict(rows))
    compare(left, right, [WHOLE], most_keys=10, report=lambda _line: None)
    assert (len(left.asked), len(right.asked), left.read, right.read) == (1, 1, 0, 0)


def test_one_difference_among_many_rows_reads_few_of_them() -> None:
    rows = {key: hash((key, "x")) for key in range(200_000)}
    left, right = Table(rows), Table({**rows, 123_456: 1})
    result = compare(left, right, [WHOLE], most_keys=10, report=lambda _line: None, leaf=500)
    assert result.keys == (("123456",),)
    assert left.read <= 500


def test_the_search_stops_when_enough_is_found_and_says_where_it_stopped() -> None:
    rows = {key: hash((key, "x")) for key in range(3 * BATCH_ROWS)}
    result = found(rows, {}, leaf=4096, most_keys=1000)
    assert 1000 <= len(result.keys) < len(rows)
    unread = sum(each.length for each in result.cut_off)
    # The last range reaches beyond the last row.
    assert unread >= len(rows) - len(result.keys)
    assert max(int(key[0]) for key in result.keys) < min(each.low for each in result.cut_off)


def test_several_ranges_make_one_answer() -> None:
    rows = {-3: 1, 2: 2, 9: 3}
    pieces = [Range(low=-10, high=0), Range(low=0, high=5), Range(low=5, high=10)]
    left, right = Table(rows), Table({**rows, 9: 4, -7: 5})
    result = compare(left, right, pieces, most_keys=9, report=lambda _line: None)
    assert set(result.keys) == {("9",), ("-7",)}
    assert (result.rows_source, result.rows_target) == (3, 4)


@pytest.mark.parametrize("position", [WHOLE.low, WHOLE.high - 1])
def test_the_ends_belong_to_the_range(position: int) -> None:
    assert found({position: 7}, {}).keys == ((str(position),),)


def test_two_keys_at_one_position_are_told_apart() -> None:
    """Hashes of keys can fall together; the range can't be cut further then."""

    class Twins(Table):
        def hashes(self, ranges: Sequence[Range]) -> Mapping[Key, int]:
            return {("a",): 1, ("b",): self.rows[3]} if any(each.low <= 3 < each.high for each in ranges) else {}

    left, right = Twins({3: 5}), Twins({3: 6})
    assert compare(left, right, [WHOLE], most_keys=9, report=lambda _line: None, leaf=0).keys == (("b",),)
