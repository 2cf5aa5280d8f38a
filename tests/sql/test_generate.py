"""The generator on a real PostgreSQL: its rate, its constraints, and what it does when it is not alone."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cdc import generate
from cdc.connections import Connections
from cdc.generate import Progress
from cdc.shop_source import ShopError
from tests.sql import postgres_instance
from tests.sql.postgres_instance import Instance

pytestmark = pytest.mark.sql
FOLDER = Path(__file__).parents[2] / "sql" / "postgres" / "inventory"


@pytest.fixture(scope="module")
def server() -> Iterator[Instance]:
    with postgres_instance.running() as instance:
        yield instance


@pytest.fixture
def connections(server: Instance) -> Connections:
    name = f"d{secrets.token_hex(4)}"
    with server.connect() as connection:
        connection.execute(f'CREATE DATABASE "{name}"'.encode())
    with server.connect(name) as connection:
        for file in sorted(FOLDER.glob("*.sql")):
            connection.execute(file.read_bytes())
    return Connections(
        outputs={
            "postgresAddress": f"{server.host}:{server.port}",
            "postgresDatabase": name,
            "applicationUser": "postgres",
            "applicationPassword": server.password,
        }
    )


def played(connections: Connections, *, seconds: float, rate: float = 300, seed: int = 1) -> Progress:
    return generate.run(
        connections, rate=rate, seconds=seconds, seed=seed, stop=threading.Event(), show=lambda progress: None
    )


def rows(connections: Connections, query: str) -> list[tuple[Any, ...]]:
    with connections.postgres_application() as connection:
        return connection.execute(query.encode()).fetchall()


def assert_stock_fits(connections: Connections) -> None:
    differing = rows(
        connections,
        "SELECT product_id, i.reserved, o.waiting FROM inventory.inventory AS i LEFT JOIN LATERAL ("
        " SELECT coalesce(sum(quantity), 0) AS waiting FROM inventory.orders"
        " WHERE product_id = i.product_id AND status IN ('PENDING', 'CONFIRMED')) AS o ON true"
        " WHERE i.reserved != o.waiting",
    )
    assert differing == []


def test_the_rate_is_kept_and_every_change_is_counted(connections: Connections) -> None:
    before = rows(connections, "SELECT count(*) FROM inventory.orders")[0][0]
    progress = played(connections, seconds=3)
    after = rows(connections, "SELECT count(*) FROM inventory.orders")[0][0]
    assert 700 < progress.changes <= 950
    assert progress.orders("insert") - progress.orders("delete") == after - before
    assert progress.orders("update") > 0
    assert progress.conflicts == 0
    assert_stock_fits(connections)
    shipped = rows(
        connections,
        "SELECT count(*) FROM inventory.orders AS o FULL JOIN inventory.shipments AS s ON s.order_id = o.id"
        " WHERE (o.status IN ('SHIPPED', 'DELIVERED')) != (s.id IS NOT NULL)",
    )
    assert shipped == [(0,)]


def test_a_second_run_goes_on_with_what_the_first_left(connections: Connections) -> None:
    played(connections, seconds=1)
    again = played(connections, seconds=1, seed=2)
    assert again.conflicts == 0
    assert_stock_fits(connections)


def test_one_generator_at_a_time(connections: Connections) -> None:
    with _in_background(lambda: played(connections, seconds=3)):
        time.sleep(0.7)
        with pytest.raises(ShopError, match="another `generate` is at work"):
            played(connections, seconds=1)


def test_a_connection_that_dies_is_made_anew(connections: Connections) -> None:
    with _in_background(lambda: played(connections, seconds=4)) as results:
        time.sleep(1)
        rows(
            connections,
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid != pg_backend_pid()",
        )
    assert results[0].reconnects == 1
    assert results[0].changes > 500
    assert_stock_fits(connections)


def test_rows_that_others_delete_are_let_go(connections: Connections) -> None:
    with _in_background(lambda: played(connections, seconds=4)) as results:
        for _ in range(6):
            time.sleep(0.4)
            rows(
                connections,
                "WITH gone AS (DELETE FROM inventory.orders WHERE status = 'PENDING' RETURNING product_id, quantity),"
                " freed AS (SELECT product_id, sum(quantity) AS quantity FROM gone GROUP BY product_id)"
                " UPDATE inventory.inventory AS i SET reserved = i.reserved - f.quantity FROM freed AS f"
                " WHERE f.product_id = i.product_id RETURNING 1",
            )
    assert results[0].conflicts > 0
    assert results[0].orders("insert") > 100
    assert_stock_fits(connections)


def test_a_database_without_a_shop_is_refused(connections: Connections) -> None:
    elsewhere = Connections(outputs={**connections.outputs, "postgresDatabase": "postgres"})
    with pytest.raises(ShopError, match=r"no inventory\.orders"):
        played(elsewhere, seconds=1)


class _in_background:  # noqa: N801 - reads as a function
    """Runs a function beside the block; its result is in the list when the block is over."""

    def __init__(self, function: Callable[[], Progress]) -> None:
        self._results: list[Progress] = []
        self._thread = threading.Thread(target=lambda: self._results.append(function()))

    def __enter__(self) -> list[Progress]:
        self._thread.start()
        return self._results

    def __exit__(self, *error: object) -> None:
        self._thread.join(30)
        assert self._results, "the generator failed"
