-- An entry is closed once its message was sent again (`python -m cdc replay-errors`): what still can't be read then comes
-- back as an entry of its own. The entry is written again with the time, and the later one of the two replaces the other.
ALTER TABLE {{database}}.ingest_errors {{on_cluster}}
    ADD COLUMN IF NOT EXISTS replayed_at Nullable(DateTime64(3, 'UTC')) COMMENT 'when the message was sent again; NULL: it waits for that';
