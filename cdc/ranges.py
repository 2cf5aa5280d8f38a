"""Find the keys that differ between two sides by comparing digests of ranges, and only then keys.

Rows stand on a line: at their key where it is one whole number, else at a hash of it. A range is cut into buckets; only
those whose number of rows or digest differ are looked into, until few enough rows are left to compare key by key.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

Key = tuple[str, ...]
"""The texts of a row's primary key columns."""
FAN = 1024
"""Buckets that a range is cut into at once."""
LEAF_ROWS = 4096
"""A bucket with no more rows than this is compared key by key."""
BATCH_ROWS = 65_536
"""Rows whose keys are fetched at once."""


@dataclass(frozen=True, kw_only=True, order=True)
class Range:
    """Positions from ``low`` up to and without ``high``."""

    low: int
    high: int

    @property
    def length(self) -> int:
        """How many positions there are."""
        return self.high - self.low

    def __str__(self) -> str:
        return f"{self.low} to {self.high - 1}"


@dataclass(frozen=True, kw_only=True)
class Digest:
    """Number of rows and the exclusive or of their hashes."""

    rows: int
    hash: int


EMPTY = Digest(rows=0, hash=0)


class Side(Protocol):
    """One of the two tables that are compared."""

    def digests(self, within: Range, width: int) -> Mapping[int, Digest]:
        """Digests of the buckets ``width`` wide, by number; empty buckets may be left out."""

    def hashes(self, ranges: Sequence[Range]) -> Mapping[Key, int]:
        """The hash of each row in ``ranges``."""


@dataclass(frozen=True, kw_only=True)
class Found:
    """Rows on each side, and the keys that differ. ``cut_off`` are ranges that differ and were not looked into."""

    rows_source: int
    rows_target: int
    keys: tuple[Key, ...]
    cut_off: tuple[Range, ...] = ()


def compare(
    source: Side,
    target: Side,
    whole: Sequence[Range],
    *,
    most_keys: int,
    report: Callable[[str], None],
    leaf: int = LEAF_ROWS,
) -> Found:
    """Compare the ranges of ``whole``, which do not overlap; stop once ``most_keys`` keys or more differ."""
    with ThreadPoolExecutor(max_workers=2) as pool:
        both = _Both(source, target, pool)
        rows, leaves = _descend(both, whole, leaf, report)
        keys: list[Key] = []
        batches = list(_batches(leaves))
        for number, batch in enumerate(batches):
            left, right = both.hashes(batch)
            keys += sorted(key for key in left.keys() | right.keys() if left.get(key) != right.get(key))
            if len(batches) > 1:
                report(f"{len(keys)} keys differ so far, {number + 1} of {len(batches)} groups of ranges read")
            if len(keys) >= most_keys:
                rest = tuple(range_ for later in batches[number + 1 :] for range_ in later)
                return Found(rows_source=rows[0], rows_target=rows[1], keys=tuple(keys), cut_off=rest)
    return Found(rows_source=rows[0], rows_target=rows[1], keys=tuple(keys))


@dataclass(frozen=True)
class _Both:
    """Asks both sides at the same time."""

    source: Side
    target: Side
    pool: ThreadPoolExecutor

    def digests(self, within: Range, width: int) -> tuple[Mapping[int, Digest], Mapping[int, Digest]]:
        left = self.pool.submit(self.source.digests, within, width)
        right = self.pool.submit(self.target.digests, within, width)
        return left.result(), right.result()

    def hashes(self, ranges: Sequence[Range]) -> tuple[Mapping[Key, int], Mapping[Key, int]]:
        left = self.pool.submit(self.source.hashes, ranges)
        right = self.pool.submit(self.target.hashes, ranges)
        return left.result(), right.result()


def _descend(
    both: _Both, whole: Sequence[Range], leaf: int, report: Callable[[str], None]
) -> tuple[tuple[int, int], list[tuple[Range, int]]]:
    """Rows of each side in ``whole``, and the small ranges that differ with how many rows they hold."""
    totals = [0, 0]
    leaves: list[tuple[Range, int]] = []
    todo = [(within, True) for within in whole]
    while todo:
        within, is_whole = todo.pop()
        width = max(1, -(-within.length // FAN))
        left, right = both.digests(within, width)
        if is_whole:
            totals[0] += sum(each.rows for each in left.values())
            totals[1] += sum(each.rows for each in right.values())
        differing = sorted(
            number for number in left.keys() | right.keys() if left.get(number, EMPTY) != right.get(number, EMPTY)
        )
        for number in differing:
            low = within.low + number * width
            part = Range(low=low, high=min(low + width, within.high))
            rows = max(left.get(number, EMPTY).rows, right.get(number, EMPTY).rows)
            if rows <= leaf or part.length == 1:
                leaves.append((part, rows))
            else:
                todo.append((part, False))
        if differing:
            report(f"{len(differing)} of {-(-within.length // width)} ranges differ in {within}")
    return (totals[0], totals[1]), sorted(leaves)


def _batches(leaves: Sequence[tuple[Range, int]]) -> Iterator[list[Range]]:
    """Neighbours joined, and as many ranges together as make a worthwhile query."""
    batch: list[Range] = []
    rows = 0
    for part, held in leaves:
        if batch and rows + held > BATCH_ROWS:
            yield batch
            batch, rows = [], 0
        if batch and batch[-1].high == part.low:
            batch[-1] = Range(low=batch[-1].low, high=part.high)
        else:
            batch.append(part)
        rows += held
    if batch:
        yield batch
