"""A ClickHouse for the tests of this folder, and databases in it."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from cdc.clickhouse import ClickHouse, Endpoint
from cdc.waiting import Deadline
from tests.sql.clickhouse_container import ADMIN, ClickHouseServer, clickhouse_server
from tests.sql.events import Feed, install


@pytest.fixture(scope="session")
def clickhouse() -> Iterator[ClickHouseServer]:
    """A running server, one for all tests; a failure where there is neither an image nor an engine."""
    try:
        stack = ExitStack()
        server = stack.enter_context(clickhouse_server())
    except RuntimeError as error:
        pytest.fail(str(error))
    with stack:
        yield server


@pytest.fixture(scope="session")
def endpoint(clickhouse: ClickHouseServer) -> Endpoint:
    return Endpoint(
        host=clickhouse.host, port=clickhouse.native_port, user=ADMIN, password=clickhouse.users[ADMIN].password
    )


@pytest.fixture
def connection(endpoint: Endpoint) -> Iterator[ClickHouse]:
    with ClickHouse.connect(endpoint, Deadline(30)) as connection:
        yield connection


@pytest.fixture
def database(connection: ClickHouse) -> Iterator[str]:
    """The name of a database of this test's own."""
    name = f"test_{uuid.uuid4().hex[:8]}"
    yield name
    connection.run(f"DROP DATABASE IF EXISTS {name} SYNC")


@pytest.fixture(scope="session")
def shared_feed(endpoint: Endpoint) -> Iterator[Feed]:
    with ClickHouse.connect(endpoint, Deadline(30)) as connection:
        yield install(connection, f"test_{uuid.uuid4().hex[:8]}")


@pytest.fixture
def feed(shared_feed: Feed) -> Feed:
    """The whole schema of sql/clickhouse, empty, whose queues are fed by the test instead of by Kafka."""
    shared_feed.clear()
    return shared_feed


@pytest.fixture
def own_feed(connection: ClickHouse, database: str) -> Feed:
    """The same for a test that changes the schema."""
    return install(connection, database)
