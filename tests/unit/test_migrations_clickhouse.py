"""What ClickHouse's statements mean to the migrations, and that our own files keep their rules."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from cdc import migrations, sqltext
from cdc.clickhouse_migrations import DIALECT
from cdc.migrations import Kind, Meaning, MigrationError
from components.configs.clickhouse import shard_parameters

FOLDER = Path(__file__).resolve().parents[2] / "sql" / "clickhouse"
PARAMETERS = {
    "database": "analytics",
    "replicated": "",
    "on_cluster": "",
    "kafka_brokers": "kafka:29092",
    "topic_prefix": "postgres-server",
    "kafka_consumers": "1",
    "flush_interval_ms": "200",
    "aggregate_seconds": "2",
    **shard_parameters("analytics", ""),
    "epoch": "0",
    "history_ttl_days": "3650",
}


def once(name: str = "", *, resumable: bool = True) -> Meaning:
    return Meaning(kind=Kind.ONCE, name=name, resumable=resumable)


def definition(name: str, *, retires: bool = False) -> Meaning:
    return Meaning(kind=Kind.DEFINITION, name=name, retires=retires)


@pytest.mark.parametrize(
    ("sql", "meaning"),
    [
        ("CREATE TABLE IF NOT EXISTS a.t (x Int8) ENGINE = MergeTree ORDER BY x", once("t")),
        ("CREATE TABLE IF NOT EXISTS a.t ON CLUSTER 'c' (x Int8) ENGINE = ReplicatedMergeTree ORDER BY x", once("t")),
        ("CREATE TABLE a.q (raw String) ENGINE = Kafka SETTINGS x = 1", definition("q")),
        ("-- why\nCREATE TABLE a.p\n(x Int8)\nENGINE = Null", definition("p")),
        ("CREATE TABLE a.d AS a.t ENGINE = Distributed('c', 'a', 't')", definition("d")),
        ("CREATE MATERIALIZED VIEW a.m ON CLUSTER 'c' TO a.t AS SELECT 1", definition("m")),
        ("CREATE MATERIALIZED VIEW a.m REFRESH EVERY 10 SECOND TO a.t AS SELECT 1", definition("m")),
        ("CREATE OR REPLACE VIEW a.v AS SELECT 1", definition("v")),
        ("CREATE VIEW IF NOT EXISTS `a`.`v` AS SELECT 1", definition("v")),
        ("DROP VIEW IF EXISTS a.v", definition("v", retires=True)),
        ("DROP TABLE a.q", definition("q", retires=True)),
        ("ALTER TABLE a.t MODIFY TTL d + INTERVAL 1 DAY", Meaning(kind=Kind.REPEATABLE, resumable=True)),
        ("ALTER TABLE a.t ON CLUSTER 'c' MODIFY TTL d", Meaning(kind=Kind.REPEATABLE, resumable=True)),
        ("ALTER TABLE a.t ADD COLUMN IF NOT EXISTS y Int8", once()),
        ("ALTER TABLE a.t ADD COLUMN y Int8", once(resumable=False)),
        ("INSERT INTO a.t SELECT 1", once(resumable=False)),
    ],
)
def test_each_kind_of_statement(sql: str, meaning: Meaning) -> None:
    assert DIALECT.meaning(sql) == meaning


@pytest.mark.parametrize(
    ("sql", "cure"),
    [
        ("DROP DATABASE a", "never drop a database"),
        ("TRUNCATE TABLE a.t", "never empty, hide or swap"),
        ("ALTER TABLE a.t DELETE WHERE 1", "never delete or replace data"),
        ("ALTER TABLE a.t\nDROP PARTITION 202601", "never delete or replace data"),
        ("ALTER TABLE a.t DROP COLUMN IF EXISTS x", "never delete or replace data"),
        ("DELETE FROM a.t WHERE 1", "never delete or replace data"),
        ("REPLACE TABLE a.t (x Int8) ENGINE = Memory", "never delete or replace data"),
        ("CREATE OR REPLACE TABLE a.t (x Int8) ENGINE = MergeTree ORDER BY x", "never delete or replace data"),
        ("DETACH TABLE a.t", "never empty, hide or swap"),
        ("EXCHANGE TABLES a.t AND a.u", "never empty, hide or swap"),
        ("CREATE MATERIALIZED VIEW a.m ENGINE = MergeTree ORDER BY x AS SELECT 1 AS x", "give it a table with TO"),
        ("CREATE TABLE a.t (x Int8) ENGINE = MergeTree ORDER BY x", "CREATE TABLE IF NOT EXISTS"),
    ],
)
def test_what_migrations_may_not_hold(sql: str, cure: str) -> None:
    with pytest.raises(MigrationError, match=cure):
        DIALECT.meaning(sql)


def test_our_files_can_be_used_and_use_every_parameter() -> None:
    files = migrations.load(FOLDER, PARAMETERS, DIALECT)
    used = {name for file in files for s in file.statements for name in sqltext.placeholders(s.source)}
    assert used == set(PARAMETERS)


def test_our_tables_differ_only_by_engine_family_and_cluster() -> None:
    """Everything that is created takes both parameters: one set of files serves one node and a cluster."""
    for file in migrations.load(FOLDER, PARAMETERS, DIALECT):
        for statement in file.statements:
            assert "{{on_cluster}}" in statement.source, statement
            if statement.meaning.kind is Kind.ONCE and statement.meaning.name:
                assert "{{replicated}}" in statement.source, statement


def test_what_starts_a_flow_comes_last_in_its_file() -> None:
    for file in migrations.load(FOLDER, PARAMETERS, DIALECT):
        starts = [s.number for s in file.statements if re.search(r"FROM analytics\.\w+_queue\b", s.sql)]
        assert starts in ([], [len(file.statements)]), file.name
