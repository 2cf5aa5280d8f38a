"""From a connector's Java trace to what a person should do."""

from __future__ import annotations

import re

TRACE_LINES = 12
FRAMES = 4
LINE_HEAD, LINE_TAIL = 200, 200
"""Characters kept of a long line: Debezium prints whole structures in the middle of its messages."""

HINTS: tuple[tuple[str, str], ...] = (
    (
        r"password authentication failed",
        "the source refuses the connector's password: run `pulumi up --refresh`, which sets it again on both sides",
    ),
    (
        r"replication slot .* is active for PID|is already active",
        "another consumer reads this slot: stop it, or give this pipeline a `slot` of its own",
    ),
    (
        r"[Pp]ublication .*(does not exist|not found)|Publication autocreation is disabled",
        "the publication is missing: `pulumi refresh` and `pulumi up` make it again",
    ),
    (
        r"no longer available on the server|offset.{0,40}mismatch|slot.{0,80}(ahead|newer|does not match)",
        "slot and stored offset do not fit together, so changes between them may be gone: "
        "follow the playbook `slot lost` (snapshot again); don't only drop the offset",
    ),
    (
        r"can no longer get changes from replication slot|wal_status|invalidat\w+ .*slot|slot .*invalidat\w+",
        "the server gave up the slot because it held back too much WAL: drop it and snapshot again; raise "
        "max_slot_wal_keep_size or alert earlier",
    ),
    (
        r"UNKNOWN_TOPIC_OR_PARTITION|UnknownTopicOrPartition|not present in metadata",
        "a topic is missing and topics are not created by themselves here: `pulumi refresh` and `pulumi up` make it",
    ),
    (
        r"permission denied for (table|schema|relation|view)",
        "the connector's user lacks a right: `pulumi refresh` and `pulumi up` grant it again",
    ),
    (
        r"must be superuser or replication role|no pg_hba\.conf entry",
        "the source does not let this user replicate: check its REPLICATION attribute and pg_hba.conf",
    ),
    (
        r"wal_level|logical decoding requires",
        "set wal_level = logical on the source and restart it",
    ),
    (
        r"all replication slots are in use",
        "raise max_replication_slots on the source, or drop a slot nobody reads",
    ),
    (
        r"UnknownHostException|Connection refused|The connection attempt failed|connect timed out",
        "Kafka Connect can't reach the source: check its address as seen from the container, and that it runs",
    ),
    (
        r"ProducerFenced|InvalidProducerEpoch|fenced",
        "another instance of this connector took over: is a second Connect cluster running with the same group?",
    ),
    (
        r"TransactionTimeout|transaction timeout is larger|InvalidTxnTimeout",
        "producer.override.transaction.timeout.ms exceeds the broker's transaction.max.timeout.ms",
    ),
    (
        r"NoSuchFileException|Could not read .*\.properties|config provider",
        "the file with the connector's password is not in the Connect container: run `pulumi up --refresh`",
    ),
)


def explain(trace: str) -> str:
    """A trace cut to its causes, followed by the cure of the first known one."""
    cure = next((cure for pattern, cure in HINTS if re.search(pattern, trace)), None)
    return causes(trace) + (f"\nCure: {cure}." if cure else "")


def causes(trace: str) -> str:
    """The trace's first line and its `Caused by` lines; a few frames where it has no cause."""
    lines = [_shortened(line.strip()) for line in trace.splitlines() if line.strip()]
    told = [line for number, line in enumerate(lines) if number == 0 or line.startswith("Caused by:")]
    if len(told) < 2:
        told = lines[:FRAMES]
    return "\n".join(f"  {line}" for line in told[:TRACE_LINES]) or "  (Connect gave no trace)"


def _shortened(line: str) -> str:
    if len(line) <= LINE_HEAD + LINE_TAIL:
        return line
    return f"{line[:LINE_HEAD]} [...] {line[-LINE_TAIL:]}"
