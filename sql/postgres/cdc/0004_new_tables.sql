-- Tables that were added to a running pipeline: the connector's initial snapshot is over, so their old rows have to be asked for.
CREATE TABLE cdc.new_tables (
    name     text PRIMARY KEY,
    added_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    signal   text
);
COMMENT ON TABLE cdc.new_tables IS 'Captured tables that the initial snapshot did not read; an entry goes when its table is no longer captured.';
COMMENT ON COLUMN cdc.new_tables.signal IS 'Id of the signal that asked for the rows; NULL until the connector runs with the table.';
