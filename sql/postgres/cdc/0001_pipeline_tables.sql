-- What the pipeline itself needs in the source. No user table is touched here.
CREATE SCHEMA IF NOT EXISTS cdc;
COMMENT ON SCHEMA cdc IS 'Objects of the change data capture pipeline; safe to drop once the pipeline is gone.';

CREATE TABLE cdc.heartbeat (
    id           integer PRIMARY KEY CHECK (id = 1),
    committed_at timestamptz NOT NULL,
    beat         bigint NOT NULL
);
COMMENT ON TABLE cdc.heartbeat IS
    'One row, written by the connector every few seconds: keeps the slot moving and measures freshness end to end.';
COMMENT ON COLUMN cdc.heartbeat.committed_at IS 'Clock of the source when the beat was written.';
COMMENT ON COLUMN cdc.heartbeat.beat IS 'Counts up by one with each beat: a gap downstream is a lost change.';
INSERT INTO cdc.heartbeat (id, committed_at, beat) VALUES (1, clock_timestamp(), 0);

CREATE TABLE cdc.signal (
    id   text PRIMARY KEY,
    type text NOT NULL,
    data text
);
COMMENT ON TABLE cdc.signal IS
    'Commands to the connector, such as execute-snapshot; the connector writes its watermarks here too.';

CREATE TABLE cdc.schema_changes (
    id              bigserial PRIMARY KEY,
    happened_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    command_tag     text NOT NULL,
    object_type     text NOT NULL,
    schema_name     text NOT NULL,
    object_identity text NOT NULL,
    ddl             text,
    executed_by     text NOT NULL DEFAULT session_user,
    transaction_id  bigint NOT NULL,
    lsn             bigint NOT NULL
);
COMMENT ON TABLE cdc.schema_changes IS
    'Every change of a table''s shape in the captured schemas, written by event triggers and captured like a row.';
COMMENT ON COLUMN cdc.schema_changes.ddl IS
    'Text of the client''s whole query, passwords blanked, cut at 10000 characters.';
COMMENT ON COLUMN cdc.schema_changes.lsn IS 'Byte position in the WAL: the same number as `lsn` in a change''s source block.';
COMMENT ON COLUMN cdc.schema_changes.transaction_id IS 'The same 64-bit number as txid_current() in that transaction.';

CREATE TABLE cdc.captured_schemas (
    name text PRIMARY KEY
);
COMMENT ON TABLE cdc.captured_schemas IS 'Schemas whose DDL is recorded; kept equal to the settings by `pulumi up`.';
