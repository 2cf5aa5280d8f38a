"""What a shop is made of, and what it changes: rows, transactions, and pools of things to draw from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from random import Random
from typing import Any, Literal

Kind = Literal["insert", "update", "delete"]


@dataclass(frozen=True)
class Plus:
    """A number to be added to what the column holds."""

    amount: int


@dataclass(frozen=True)
class Now:
    """The database's time of the transaction."""


@dataclass(frozen=True, kw_only=True)
class Change:
    """One row of ``inventory.<table>``; ``key`` is its primary key, ``values`` the columns that are set."""

    table: str
    kind: Kind
    key: int
    values: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Transaction:
    """What an application commits at once."""

    action: str
    changes: tuple[Change, ...]


@dataclass(kw_only=True)
class Order:
    """An order that the shop may still touch; ``shipment`` is the id of its shipment once it has one."""

    id: int
    purchaser: int
    product: int
    quantity: int
    unit_price: Decimal
    status: str
    shipment: int | None = None


@dataclass(kw_only=True)
class Product:
    """A product and its stock; ``price`` is the list price."""

    id: int
    price: Decimal
    active: bool
    stock: int
    reserved: int
    reorder_level: int = 10


class Pool:
    """Things by id, from which one can be drawn at random in constant time."""

    def __init__(self) -> None:
        self._ids: list[int] = []
        self._places: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self._ids)

    def __iter__(self) -> Iterator[int]:
        return iter(self._ids)

    def add(self, key: int) -> None:
        """Put one in."""
        self._places[key] = len(self._ids)
        self._ids.append(key)

    def remove(self, key: int) -> None:
        """Take one out; the last takes its place."""
        place, last = self._places.pop(key), self._ids.pop()
        if last != key:
            self._ids[place] = last
            self._places[last] = place

    def draw(self, random: Random) -> int:
        """Look at one at random. Raises IndexError when the pool is empty."""
        return self._ids[int(random.random() * len(self._ids))]
