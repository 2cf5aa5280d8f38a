package cdc.debezium;

import io.debezium.connector.postgresql.connection.Lsn;
import io.debezium.connector.postgresql.connection.ReplicationMessage;
import io.debezium.connector.postgresql.connection.ReplicationMessage.Operation;
import io.debezium.connector.postgresql.connection.WalPositionLocator;
import java.lang.reflect.Proxy;
import java.util.ArrayList;
import java.util.Collections;
import java.util.HashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Random;
import java.util.Set;

/**
 * Kills and restarts a task at random records of random transactions, takes snapshots in between, sets offsets back, and looks
 * for events that never arrived or arrived with another commit before them than in the log (their rank: sequence).
 *
 * <p>Where to resume is found by Debezium's own WalPositionLocator; the log, the server's choice of transactions and the
 * offsets follow PostgreSQL's logical replication and Debezium's PostgresOffsetContext.
 */
public final class WholeLsnOffsetsTest {
    private static final int SCENARIOS = 20_000;

    /** BEGIN, a change or COMMIT as the server sends it; a changed key makes two records of one change. */
    private record Message(Operation operation, long lsn, int transaction, int first, int records) {}

    /** A record of the task: its event (-1: a heartbeat, a snapshot's row), the commit that it names, the offset it carries. */
    private record Emitted(int event, Long commit, Map<String, ?> carried) {}

    private record Transaction(long commitLsn, List<Message> messages) {}

    private final Random random;
    private final boolean wrapped;
    private final List<Transaction> log = new ArrayList<>();
    private final Map<Integer, Long> commitBefore = new HashMap<>();
    private int events;
    private long slot;
    private int repeated;
    private int misplaced;
    private int restarts;

    private WholeLsnOffsetsTest(long seed, boolean wrapped) {
        random = new Random(seed);
        this.wrapped = wrapped;
        writeLog();
        Long before = null;
        for (Transaction transaction : log) {
            for (Message message : transaction.messages) {
                for (int record = 0; record < message.records; record++) {
                    commitBefore.put(message.first + record, before);
                }
            }
            before = transaction.messages.get(transaction.messages.size() - 1).lsn;
        }
    }

    public static void main(String[] arguments) {
        Map<Boolean, Integer> lossy = new HashMap<>();
        int repeated = 0;
        int restarts = 0;
        int misplaced = 0;
        for (boolean wrapped : new boolean[] {true, false}) {
            for (int seed = 0; seed < SCENARIOS; seed++) {
                WholeLsnOffsetsTest scenario = new WholeLsnOffsetsTest(seed, wrapped);
                Set<Integer> lost = scenario.run();
                if (!lost.isEmpty()) {
                    lossy.merge(wrapped, 1, Integer::sum);
                    check(!wrapped, "scenario " + seed + " lost the events " + lost + " of " + scenario.log);
                }
                check(!wrapped || scenario.misplaced == 0, "scenario " + seed + " names another commit than the one before");
                misplaced += scenario.misplaced;
                if (wrapped) {
                    repeated += scenario.repeated;
                    restarts += scenario.restarts;
                }
            }
        }
        int bare = lossy.getOrDefault(false, 0);
        System.out.printf("bare connector: %d of %d scenarios lose events%n", bare, SCENARIOS);
        System.out.printf("bare connector: %d changes name another commit than the one before%n", misplaced);
        System.out.printf("whole LSNs: 0 of %d, %d records repeated in %d restarts%n", SCENARIOS, repeated, restarts);
        check(misplaced > 0, "the bare connector always names the commit before");
        check(bare > 0, "the bare connector loses nothing: these scenarios test nothing, or the plugin is no longer needed");
        countsOfTheBareConnectorAreNotTrusted();
    }

    private static void countsOfTheBareConnectorAreNotTrusted() {
        Map<String, Object> stored = new HashMap<>(Map.of("lsn", 5L, "messageType", "INSERT", "lsn_events_processed", 1L));
        check(WholeLsnOffsets.toResumeFrom(stored, null).equals(Map.of("lsn", 5L)), "a counted offset begins its transaction again");
        Map<String, Object> ours = Map.of("lsn", 5L, "messageType", "INSERT");
        check(WholeLsnOffsets.toResumeFrom(ours, 5L).equals(ours), "an offset of ours is resumed from as it is");
        Map<String, Object> snapshotRead = Map.of("lsn", 5L, "snapshot", "INITIAL", "last_snapshot_record", true);
        Map<String, Object> slot = Map.of("lsn", 9L, "lsn_commit", 9L, "lsn_proc", 9L, "messageType", "COMMIT");
        check(WholeLsnOffsets.toResumeFrom(ours, 9L).equals(slot), "an offset behind the slot is resumed from where the slot is");
        check(WholeLsnOffsets.toResumeFrom(snapshotRead, 9L).equals(slot), "and one at the end of the first snapshot, too");
        check(WholeLsnOffsets.toResumeFrom(snapshotRead, 5L).equals(snapshotRead), "but not without need");
        Map<String, Object> reading = Map.of("lsn", 5L, "snapshot", "INITIAL", "last_snapshot_record", false);
        check(WholeLsnOffsets.toResumeFrom(reading, 9L).equals(reading), "a snapshot that is not over begins again");
        check(WholeLsnOffsets.toResumeFrom(null, 9L) == null, "nothing stored");
        Map<String, Object> snapshot = Map.of("lsn", 5L, "messageType", "INSERT", "snapshot", "INITIAL");
        check(new WholeLsnOffsets().of(snapshot, () -> null).equals(snapshot), "a snapshot's offset stays");
        Map<String, Object> blocking = new HashMap<>(ours);
        blocking.putAll(Map.of("snapshot", "BLOCKING", "snapshot_completed", true, "last_snapshot_record", true));
        check(WholeLsnOffsets.toResumeFrom(blocking, 5L).equals(ours), "a snapshot asked for by a signal leaves the place in the log");
        check(new WholeLsnOffsets().of(stored, () -> null) == null, "nothing is complete and nothing was stored");
    }

    /** Transactions side by side: records in the order of the log, transactions in the order of their commits. */
    private void writeLog() {
        int open = 1 + random.nextInt(3);
        int started = 0;
        long position = 1_000;
        Map<Integer, List<Message>> writing = new HashMap<>();
        while (started < 8 || !writing.isEmpty()) {
            if (started < 8 && writing.size() < open) {
                writing.put(started++, new ArrayList<>());
            }
            int transaction = List.copyOf(writing.keySet()).get(random.nextInt(writing.size()));
            List<Message> messages = writing.get(transaction);
            long end = position + 8 * (1 + random.nextInt(4));
            if (!messages.isEmpty() && random.nextInt(3) == 0) {
                messages.add(0, new Message(Operation.BEGIN, messages.get(0).lsn, transaction, -1, 0));
                // The end of the commit record is where the next record begins.
                messages.add(new Message(Operation.COMMIT, end, transaction, -1, 0));
                log.add(new Transaction(position, messages));
                writing.remove(transaction);
            } else {
                for (int rows = random.nextBoolean() ? 1 : 1 + random.nextInt(5); rows > 0; rows--) {
                    int records = random.nextInt(6) == 0 ? 2 : 1;
                    messages.add(new Message(Operation.INSERT, position, transaction, events, records));
                    events += records;
                }
            }
            position = end;
        }
    }

    /** Three lives of a task, the last one to the end; returns the events that no life delivered. */
    private Set<Integer> run() {
        Set<Integer> delivered = new LinkedHashSet<>();
        Map<String, ?> stored = null;
        for (int life = 0; life < 3; life++) {
            List<Emitted> emitted = new ArrayList<>();
            live(stored, emitted);
            boolean last = life == 2;
            int kept = last ? emitted.size() : random.nextInt(emitted.size() + 1);
            for (Emitted record : emitted.subList(0, kept)) {
                if (record.event >= 0 && !delivered.add(record.event)) {
                    repeated++;
                }
                if (record.event >= 0 && !Objects.equals(record.commit, commitBefore.get(record.event))) {
                    misplaced++;
                }
            }
            // With exactly-once the offset is the last record's; otherwise it may be behind.
            int upTo = random.nextBoolean() ? kept : random.nextInt(kept + 1);
            if (upTo > 0) {
                stored = emitted.get(upTo - 1).carried;
                // Debezium confirms the commit of a stored offset, a while later.
                if (random.nextBoolean() && stored != null && stored.get("lsn_commit") != null) {
                    slot = Math.max(slot, (long) stored.get("lsn_commit"));
                }
                // Somebody sets the offset back, but not to nothing: that would be a new snapshot.
                Map<String, ?> earlier = emitted.get(random.nextInt(upTo)).carried;
                if (random.nextInt(4) == 0 && earlier != null) {
                    stored = earlier;
                }
            }
            restarts++;
        }
        Set<Integer> lost = new LinkedHashSet<>();
        for (int event = 0; event < events; event++) {
            if (!delivered.contains(event)) {
                lost.add(event);
            }
        }
        return lost;
    }

    /** One life; in it Debezium may begin again in place, after an error, from whatever is stored then. */
    private void live(Map<String, ?> stored, List<Emitted> emitted) {
        WholeLsnOffsets whole = new WholeLsnOffsets();
        while (!streamed(stored, whole, emitted)) {
            whole.restarted();
            int upTo = random.nextInt(emitted.size() + 1);
            stored = upTo > 0 ? emitted.get(upTo - 1).carried : stored;
        }
    }

    private boolean streamed(Map<String, ?> stored, WholeLsnOffsets whole, List<Emitted> emitted) {
        Map<String, ?> resumed = wrapped ? WholeLsnOffsets.toResumeFrom(stored, slot) : stored;
        Offset offset = new Offset(resumed);
        List<Message> stream = new ArrayList<>();
        for (Transaction transaction : log) {
            if (transaction.commitLsn >= Math.max(slot, resumed == null ? 0 : (long) resumed.get("lsn"))) {
                stream.addAll(transaction.messages);
            }
        }
        WalPositionLocator locator = locate(resumed, stream);
        if (locator == null) {
            return true;
        }
        for (Message message : stream) {
            boolean skipped = locator.skipMessage(Lsn.valueOf(message.lsn));
            if (skipped && message.operation == Operation.INSERT) {
                continue;
            }
            offset.process(message);
            boolean beats = message.operation == Operation.COMMIT ? random.nextBoolean() : random.nextInt(10) == 0;
            for (int record = beats ? -1 : 0; record < message.records; record++) {
                Map<String, ?> own = offset.stored();
                Map<String, ?> carried = wrapped ? whole.of(own, () -> resumed) : own;
                emitted.add(new Emitted(record < 0 ? -1 : message.first + record, (Long) own.get("lsn_commit"), carried));
            }
            for (int row = random.nextInt(20) == 0 ? 3 : 0; row > 0; row--) {
                Map<String, ?> own = offset.storedInBlockingSnapshot();
                emitted.add(new Emitted(-1, null, wrapped ? whole.of(own, () -> resumed) : own));
            }
            if (random.nextInt(100) == 0) {
                return false;
            }
        }
        return true;
    }

    /** Debezium's search; null when the stream ends before it finds a place, which then has nothing to give. */
    private static WalPositionLocator locate(Map<String, ?> resumed, List<Message> stream) {
        if (resumed == null) {
            return new WalPositionLocator();
        }
        Long commit = (Long) resumed.get("lsn_commit");
        String type = (String) resumed.get("messageType");
        WalPositionLocator locator = new WalPositionLocator(
                commit == null ? null : Lsn.valueOf(commit),
                Lsn.valueOf((long) resumed.get("lsn")),
                type == null ? null : Operation.valueOf(type),
                resumed.containsKey("lsn_events_processed") ? (long) resumed.get("lsn_events_processed") : 0L);
        for (Message message : stream) {
            if (locator.resumeFromLsn(Lsn.valueOf(message.lsn), replicated(message.operation)).isPresent()) {
                locator.enableFiltering();
                return locator;
            }
        }
        return null;
    }

    private static ReplicationMessage replicated(Operation operation) {
        return (ReplicationMessage) Proxy.newProxyInstance(
                ReplicationMessage.class.getClassLoader(), new Class<?>[] {ReplicationMessage.class},
                (proxy, method, arguments) -> {
                    if (method.getName().equals("getOperation")) {
                        return operation;
                    }
                    throw new UnsupportedOperationException(method.getName());
                });
    }

    /** What Debezium keeps of its place: PostgresOffsetContext. */
    private static final class Offset {
        private final Map<String, Object> values;
        private Long counted;
        private long count;

        private Offset(Map<String, ?> resumed) {
            values = new HashMap<>(resumed == null ? Map.of() : resumed);
            counted = (Long) values.get("lsn");
            count = (long) values.getOrDefault("lsn_events_processed", 0L);
        }

        private void process(Message message) {
            values.put("lsn", message.lsn);
            values.put("messageType", message.operation.toString());
            if (message.operation == Operation.COMMIT) {
                values.put("lsn_commit", message.lsn);
                count = 0;
            } else if (message.operation == Operation.INSERT) {
                count = counted != null && counted == message.lsn ? count + 1 : 1;
                counted = message.lsn;
            }
        }

        private Map<String, ?> stored() {
            Map<String, Object> result = new HashMap<>(values);
            result.remove("lsn_events_processed");
            if (count > 0) {
                result.put("lsn_events_processed", count);
            }
            return Collections.unmodifiableMap(result);
        }

        private Map<String, ?> storedInBlockingSnapshot() {
            Map<String, Object> result = new HashMap<>(stored());
            result.putAll(Map.of("snapshot", "BLOCKING", "snapshot_completed", false, "last_snapshot_record", false));
            return result;
        }
    }

    private static void check(boolean holds, String what) {
        if (!holds) {
            throw new AssertionError(what);
        }
    }
}
