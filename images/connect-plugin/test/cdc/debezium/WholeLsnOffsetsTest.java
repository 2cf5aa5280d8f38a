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
import java.util.Random;
import java.util.Set;

/**
 * Kills and restarts a task at random records of random transactions and looks for events that never arrived.
 *
 * <p>Where to resume is found by Debezium's own WalPositionLocator; the log, the server's choice of transactions and the
 * offsets follow PostgreSQL's logical replication and Debezium's PostgresOffsetContext.
 */
public final class WholeLsnOffsetsTest {
    private static final int SCENARIOS = 20_000;

    /** BEGIN, a change or COMMIT as the server sends it; a changed key makes two records of one change. */
    private record Message(Operation operation, long lsn, int transaction, int first, int records) {}

    /** A record of the task: its event (-1: a heartbeat), its own offset and the one it carries. */
    private record Emitted(int event, long lsn, Map<String, ?> carried) {}

    private record Transaction(long commitLsn, List<Message> messages) {}

    private final Random random;
    private final boolean wrapped;
    private final List<Transaction> log = new ArrayList<>();
    private int events;
    private int repeated;
    private int restarts;

    private WholeLsnOffsetsTest(long seed, boolean wrapped) {
        random = new Random(seed);
        this.wrapped = wrapped;
        writeLog();
    }

    public static void main(String[] arguments) {
        Map<Boolean, Integer> lossy = new HashMap<>();
        int repeated = 0;
        int restarts = 0;
        for (boolean wrapped : new boolean[] {true, false}) {
            for (int seed = 0; seed < SCENARIOS; seed++) {
                WholeLsnOffsetsTest scenario = new WholeLsnOffsetsTest(seed, wrapped);
                Set<Integer> lost = scenario.run();
                if (!lost.isEmpty()) {
                    lossy.merge(wrapped, 1, Integer::sum);
                    check(!wrapped, "scenario " + seed + " lost the events " + lost + " of " + scenario.log);
                }
                if (wrapped) {
                    repeated += scenario.repeated;
                    restarts += scenario.restarts;
                }
            }
        }
        int bare = lossy.getOrDefault(false, 0);
        System.out.printf("bare connector: %d of %d scenarios lose events%n", bare, SCENARIOS);
        System.out.printf("whole LSNs: 0 of %d, %d records repeated in %d restarts%n", SCENARIOS, repeated, restarts);
        check(bare > 0, "the bare connector loses nothing: these scenarios test nothing, or the plugin is no longer needed");
        countsOfTheBareConnectorAreNotTrusted();
    }

    private static void countsOfTheBareConnectorAreNotTrusted() {
        Map<String, Object> stored = new HashMap<>(Map.of("lsn", 5L, "messageType", "INSERT", "lsn_events_processed", 1L));
        check(WholeLsnOffsets.toResumeFrom(stored).equals(Map.of("lsn", 5L)), "a counted offset begins its transaction again");
        Map<String, Object> ours = Map.of("lsn", 5L, "messageType", "INSERT");
        check(WholeLsnOffsets.toResumeFrom(ours).equals(ours), "an offset of ours is resumed from as it is");
        check(WholeLsnOffsets.toResumeFrom(null) == null, "nothing stored");
        Map<String, Object> snapshot = Map.of("lsn", 5L, "messageType", "INSERT", "snapshot", "INITIAL");
        check(new WholeLsnOffsets().of(snapshot, () -> null).equals(snapshot), "a snapshot's offset stays");
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
            }
            // With exactly-once the offset is the last record's; otherwise it may be behind.
            int upTo = random.nextBoolean() ? kept : random.nextInt(kept + 1);
            if (upTo > 0) {
                stored = emitted.get(upTo - 1).carried;
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
        Map<String, ?> resumed = wrapped ? WholeLsnOffsets.toResumeFrom(stored) : stored;
        Offset offset = new Offset(resumed);
        List<Message> stream = new ArrayList<>();
        for (Transaction transaction : log) {
            if (resumed == null || transaction.commitLsn >= (long) resumed.get("lsn")) {
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
                emitted.add(new Emitted(record < 0 ? -1 : message.first + record, message.lsn, carried));
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
    }

    private static void check(boolean holds, String what) {
        if (!holds) {
            throw new AssertionError(what);
        }
    }
}
