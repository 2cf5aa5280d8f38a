"""A live view of the hops for those who have no Grafana at hand: rates, lag, freshness, slot, errors."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from math import log

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from cdc import probes
from cdc.connect import Status
from cdc.connections import Connections
from cdc.findings import Level, Place, ago, size, worst
from cdc.health import MARKS
from cdc.judgement import judge
from cdc.survey import Away, Survey, Surveyor

BAR = "▁▂▃▄▅▆▇█"
HISTORY = 30
"""Looks that the freshness line shows."""


@dataclass(frozen=True, kw_only=True)
class Look:
    """A survey and when it was made, in monotonic seconds."""

    at: float
    survey: Survey


def run(connections: Connections, console: Console, *, every: float, count: int | None) -> None:
    """Look every ``every`` seconds and show it, ``count`` times or until interrupted."""
    surveyor, place = Surveyor(connections), Place.of(connections)
    looks: list[Look] = []
    with Live(Text("looking ..."), console=console, auto_refresh=False) as live:
        done = 0
        while count is None or done < count:
            started = time.monotonic()
            looks = [*looks[-HISTORY:], Look(at=started, survey=surveyor.look())]
            live.update(frame(looks, place), refresh=True)
            done += 1
            if done != count:
                time.sleep(max(0.0, started + every - time.monotonic()))


def frame(looks: list[Look], place: Place) -> Group:
    """What the last looks show."""
    survey = looks[-1].survey
    level = worst(judge(survey, place))
    mark, style = MARKS[level]
    title = Text.assemble(
        (f"{place.connector}  ", "bold"), (mark, style), f"  freshness {_freshness(survey)}  {_line(looks)}"
    )
    advice = Text("" if level is Level.OK else "make doctor names the cause", style="dim")
    return Group(title, _hops(looks), _topics(looks), advice, Text())


def _hops(looks: list[Look]) -> Table:
    survey = looks[-1].survey
    table = Table(box=None, pad_edge=False, header_style="bold", expand=True)
    for column in ("hop", "rate", "behind"):
        table.add_column(column, no_wrap=True)
    # Long states are cut; figures never.
    table.add_column("state", overflow="ellipsis", no_wrap=True, ratio=1)
    table.add_row("PostgreSQL", *_source(looks))
    table.add_row("Kafka Connect", *_connect(looks))
    table.add_row("Kafka", *_kafka(looks))
    table.add_row("ClickHouse", *_delivery(survey))
    return table


def _source(looks: list[Look]) -> tuple[str, str, str]:
    source = looks[-1].survey.source
    if isinstance(source, Away):
        return "", "", f"away: {source.reason}"
    growth = _rate(looks, _wal)
    slots = ", ".join(
        f"{slot.name} {'read' if slot.active else 'NOT READ'} {slot.wal_status}, keeps {size(slot.retained_bytes)}"
        for slot in source.slots
    )
    behind = size(max((slot.behind_bytes for slot in source.slots), default=0))
    return f"{size(growth)}/s WAL" if growth is not None else "", behind, slots or "NO SLOT"


def _wal(survey: Survey) -> int | None:
    return survey.source.wal_position if isinstance(survey.source, probes.Source) else None


def _connect(looks: list[Look]) -> tuple[str, str, str]:
    connector = looks[-1].survey.connector
    if isinstance(connector, Status):
        return "", "", str(connector)
    return "", "", f"away: {connector.reason}" if connector else "no such connector"


def _kafka(looks: list[Look]) -> tuple[str, str, str]:
    kafka = looks[-1].survey.kafka
    if isinstance(kafka, Away):
        return "", "", f"away: {kafka.reason}"
    written = _rate(looks, lambda survey: sum(_written(survey).values()) or None)
    lag = sum(kafka.lag(group) for group in kafka.groups if group.startswith("clickhouse_"))
    return (
        f"{written:,.0f} messages/s" if written is not None else "",
        f"{lag:,} messages",
        f"{kafka.brokers} broker(s)",
    )


def _delivery(survey: Survey) -> tuple[str, str, str]:
    delivery = survey.delivery
    if isinstance(delivery, Away):
        return "", "", f"away: {delivery.reason}"
    errors, parts = sum(delivery.errors.values()), max(delivery.parts.values(), default=0)
    state = f"{errors:,} errors, {parts} parts, {size(delivery.disk_free_bytes)} free"
    return "", _freshness(survey), state


def _topics(looks: list[Look]) -> Table:
    """Each group that ClickHouse reads with: what comes in, what goes out, what waits."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("topic", "written/s", "read/s", "behind", "rows kept"):
        table.add_column(column, justify="left" if column == "topic" else "right")
    kafka, delivery = looks[-1].survey.kafka, looks[-1].survey.delivery
    if isinstance(kafka, Away):
        return table
    rows = delivery.rows if isinstance(delivery, probes.Delivery) else {}
    read = {(p.group, p.topic) for p in kafka.positions if p.group.startswith("clickhouse_")}
    for group, topic in sorted(read):
        written = _rate(looks, partial(_written_to, topic=topic))
        taken = _rate(looks, partial(_taken_by, group=group))
        name = topic.rsplit(".", 1)[-1]
        kept = rows.get(f"{name}_current", rows.get(name))
        table.add_row(topic, _number(written), _number(taken), f"{kafka.lag(group):,}", _number(kept))
    return table


def _written(survey: Survey) -> Mapping[str, int]:
    """Newest offsets by topic, of topics that ClickHouse reads."""
    if isinstance(survey.kafka, Away):
        return {}
    read = {p.topic for p in survey.kafka.positions if p.group.startswith("clickhouse_")}
    return {topic: sum(p.newest for p in survey.kafka.partitions if p.topic == topic) for topic in read}


def _written_to(survey: Survey, *, topic: str) -> int | None:
    return _written(survey).get(topic)


def _taken_by(survey: Survey, *, group: str) -> int | None:
    if isinstance(survey.kafka, Away):
        return None
    return sum(position.offset for position in survey.kafka.positions if position.group == group)


def _rate(looks: list[Look], of: Callable[[Survey], int | None]) -> float | None:
    """Growth a second between the last two looks; None where one of them could not see it."""
    if len(looks) < 2:
        return None
    before, now = of(looks[-2].survey), of(looks[-1].survey)
    if before is None or now is None:
        return None
    return max(0, now - before) / max(0.001, looks[-1].at - looks[-2].at)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:,.0f}"


def _age(survey: Survey) -> float | None:
    if isinstance(survey.delivery, Away) or survey.delivery.beat is None:
        return None
    return survey.delivery.beat.age_seconds


def _freshness(survey: Survey) -> str:
    age = _age(survey)
    return "unknown" if age is None else ago(age).removesuffix(" ago")


def _line(looks: list[Look]) -> str:
    """Freshness of the last looks, as bars on a logarithmic scale from 1 s to 5 min."""
    ages = [_age(look.survey) for look in looks]
    top = len(BAR) - 1
    return "".join(
        " " if age is None else BAR[min(top, max(0, round(log(max(age, 1)) / log(300) * top)))] for age in ages
    )
