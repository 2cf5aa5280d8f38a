package cdc.debezium;

import java.util.HashMap;
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
 * <p>One object belongs to one source partition.
 */
final class WholeLsnOffsets {
    private static final String LSN = "lsn";
    private static final String COUNT = "lsn_events_processed";
    private static final String TYPE = "messageType";
    private static final String COMMIT = "COMMIT";
    private static final String SNAPSHOT = "snapshot";

    private Map<String, ?> boundary;
    private boolean bounded;
    private Object lsn;
    private Map<String, ?> latest;

    /**
     * The offset that the next record may carry; null where a restart has to begin as if nothing had been stored.
     *
     * @param offset the record's own
     * @param stored reads what is stored now; asked once at most, when the first record of a task is in the middle of things
     */
    synchronized Map<String, ?> of(Map<String, ?> offset, Supplier<Map<String, ?>> stored) {
        if (offset == null) {
            return null;
        }
        if (!insideTransaction(offset)) {
            restarted();
            boundary = countless(offset);
            bounded = true;
            return boundary;
        }
        if (!Objects.equals(offset.get(LSN), lsn)) {
            if (lsn != null) {
                boundary = countless(latest);
            } else if (!bounded) {
                boundary = stored.get();
            }
            bounded = true;
            lsn = offset.get(LSN);
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
     */
    static Map<String, ?> toResumeFrom(Map<String, ?> stored) {
        if (stored == null || !stored.containsKey(COUNT)) {
            return stored;
        }
        Map<String, Object> offset = new HashMap<>(stored);
        offset.remove(COUNT);
        if (insideTransaction(stored)) {
            offset.remove(TYPE);
        }
        return offset;
    }

    /** Between transactions, and in a snapshot, an offset is complete as it is. */
    private static boolean insideTransaction(Map<String, ?> offset) {
        Object type = offset.get(TYPE);
        return type != null && !COMMIT.equals(type) && offset.get(LSN) != null && !offset.containsKey(SNAPSHOT);
    }

    private static Map<String, ?> countless(Map<String, ?> offset) {
        Map<String, Object> result = new HashMap<>(offset);
        result.remove(COUNT);
        return result;
    }
}
