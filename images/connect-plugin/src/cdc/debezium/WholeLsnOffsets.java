package cdc.debezium;

import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.function.Supplier;

/**
 * Gives every record an offset from which a restart misses nothing.
 *
 * <p>Many events can share one LSN: the rows of a COPY by the heap page, the tables of a TRUNCATE, the delete and the create
 * that a changed key becomes. Debezium resumes after the LSN it stored, or after as many of its events as it counted, and the
 * count is wrong at one. So no offset is stored while its LSN may have more to come: a record carries the offset of the last
 * record of the LSN before its own. A restart then repeats at most the events of one LSN, and never skips one.
 *
 * <p>A BEGIN is no place to go on from: on its way to the place where it left off Debezium passes those of transactions that
 * it knows, with the commit that it left off behind. Their changes, sent again, would say that they came after it.
 *
 * <p>One object belongs to one source partition.
 */
final class WholeLsnOffsets {
    private static final String LSN = "lsn";
    private static final String COUNT = "lsn_events_processed";
    private static final String TYPE = "messageType";
    private static final String BEGIN = "BEGIN";
    private static final String COMMIT = "COMMIT";
    private static final String LAST_COMMIT_LSN = "lsn_commit";
    private static final String PROCESSED_LSN = "lsn_proc";
    private static final String SNAPSHOT = "snapshot";
    private static final String INITIAL = "INITIAL";
    private static final String LAST_SNAPSHOT_RECORD = "last_snapshot_record";
    /** What an offset has only while a snapshot reads. */
    private static final List<String> OF_A_SNAPSHOT = List.of(SNAPSHOT, LAST_SNAPSHOT_RECORD, "snapshot_completed");

    private Map<String, ?> boundary;
    private boolean bounded;
    private Object lsn;
    private Map<String, ?> latest;

    /**
     * The offset that the next record may carry; null where a restart has to begin as if nothing had been stored.
     *
     * @param own the record's own offset
     * @param stored reads what is stored now; asked once at most, when the first record of a task is in the middle of things
     */
    synchronized Map<String, ?> of(Map<String, ?> own, Supplier<Map<String, ?>> stored) {
        if (own == null) {
            return null;
        }
        Map<String, ?> offset = ofTheLog(own);
        if (!insideTransaction(offset)) {
            restarted();
            boundary = countless(offset);
            bounded = true;
            return boundary;
        }
        boolean begins = BEGIN.equals(offset.get(TYPE));
        if (begins || !Objects.equals(offset.get(LSN), lsn)) {
            if (lsn != null) {
                boundary = countless(latest);
            } else if (!bounded) {
                boundary = stored.get();
            }
            bounded = true;
            lsn = begins ? null : offset.get(LSN);
        }
        latest = offset;
        return boundary;
    }

    /** The task begins again from the stored offset, so the LSN it was in is not complete. Any thread may say so. */
    synchronized void restarted() {
        lsn = null;
        latest = null;
    }

    /**
     * What to tell Debezium of a stored offset. One with a count was stored by the bare connector, maybe in the middle of an LSN.
     * Without the type of its event Debezium repeats the transaction from its begin if the LSN has more than one.
     *
     * <p>PostgreSQL goes on where the slot is, whatever earlier place is asked for. An offset that was set back names an older
     * commit than the one before what comes then, and changes that say so rank below those between (sequence).
     *
     * @param flushed where the slot is: behind a transaction, because commits are what Debezium confirms; null for no slot
     */
    static Map<String, ?> toResumeFrom(Map<String, ?> stored, Long flushed) {
        if (stored == null) {
            return null;
        }
        Map<String, ?> offset = ofTheLog(stored);
        if (flushed != null && isBefore(flushed, offset)) {
            Map<String, Object> ofTheSlot = countless(offset);
            ofTheSlot.keySet().removeAll(OF_A_SNAPSHOT);
            ofTheSlot.putAll(Map.of(LSN, flushed, LAST_COMMIT_LSN, flushed, PROCESSED_LSN, flushed, TYPE, COMMIT));
            return ofTheSlot;
        }
        if (!offset.containsKey(COUNT)) {
            return offset;
        }
        Map<String, Object> uncounted = countless(offset);
        if (insideTransaction(offset)) {
            uncounted.remove(TYPE);
        }
        return uncounted;
    }

    private static boolean isBefore(long flushed, Map<String, ?> offset) {
        Object commit = offset.get(LAST_COMMIT_LSN) == null ? offset.get(LSN) : offset.get(LAST_COMMIT_LSN);
        boolean reading = offset.containsKey(SNAPSHOT) && !Boolean.TRUE.equals(offset.get(LAST_SNAPSHOT_RECORD));
        return !reading && commit != null && ((Number) commit).longValue() < flushed;
    }

    /**
     * A snapshot asked for by a signal reads while the log stands still, anywhere in a transaction: what it reads carries the
     * place in the log, which is no more complete for it. A task that resumed from an offset that says "snapshot" would say
     * so for ever.
     */
    private static Map<String, ?> ofTheLog(Map<String, ?> offset) {
        if (!offset.containsKey(SNAPSHOT) || INITIAL.equals(offset.get(SNAPSHOT))) {
            return offset;
        }
        Map<String, Object> result = new HashMap<>(offset);
        result.keySet().removeAll(OF_A_SNAPSHOT);
        return result;
    }

    /** Between transactions, and in the first snapshot, an offset is complete as it is. */
    private static boolean insideTransaction(Map<String, ?> offset) {
        Object type = offset.get(TYPE);
        return type != null && !COMMIT.equals(type) && offset.get(LSN) != null && !offset.containsKey(SNAPSHOT);
    }

    private static Map<String, Object> countless(Map<String, ?> offset) {
        Map<String, Object> result = new HashMap<>(offset);
        result.remove(COUNT);
        return result;
    }
}
