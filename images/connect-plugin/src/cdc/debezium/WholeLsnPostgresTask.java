package cdc.debezium;

import io.debezium.connector.postgresql.PostgresConnectorTask;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Proxy;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import org.apache.kafka.connect.source.SourceRecord;
import org.apache.kafka.connect.source.SourceTaskContext;
import org.apache.kafka.connect.storage.OffsetStorageReader;

/** Debezium's task; what it stores and what it reads of offsets goes through {@link WholeLsnOffsets}. */
public class WholeLsnPostgresTask extends PostgresConnectorTask {
    private final Map<Map<String, ?>, WholeLsnOffsets> offsets = new ConcurrentHashMap<>();

    @Override
    public void initialize(SourceTaskContext context) {
        OffsetStorageReader reader = new Reader(context.offsetStorageReader());
        // A proxy, because every Kafka release has more methods here.
        super.initialize((SourceTaskContext) Proxy.newProxyInstance(
                getClass().getClassLoader(), new Class<?>[] {SourceTaskContext.class}, (proxy, method, arguments) -> {
                    if (method.getName().equals("offsetStorageReader")) {
                        return reader;
                    }
                    try {
                        return method.invoke(context, arguments);
                    } catch (InvocationTargetException error) {
                        throw error.getCause();
                    }
                }));
    }

    @Override
    public List<SourceRecord> doPoll() throws InterruptedException {
        List<SourceRecord> polled = super.doPoll();
        List<SourceRecord> records = new ArrayList<>(polled.size());
        for (SourceRecord record : polled) {
            Map<String, ?> partition = record.sourcePartition();
            Map<String, ?> offset = offsets.computeIfAbsent(partition, any -> new WholeLsnOffsets())
                    .of(record.sourceOffset(), () -> context.offsetStorageReader().offset(partition));
            records.add(new SourceRecord(
                    partition, offset, record.topic(), record.kafkaPartition(), record.keySchema(), record.key(),
                    record.valueSchema(), record.value(), record.timestamp(), record.headers()));
        }
        return records;
    }

    /** Called when the task ends, and when Debezium restarts it in place after an error. */
    @Override
    protected void doStop() {
        offsets.values().forEach(WholeLsnOffsets::restarted);
        super.doStop();
    }

    private static final class Reader implements OffsetStorageReader {
        private final OffsetStorageReader stored;

        private Reader(OffsetStorageReader stored) {
            this.stored = stored;
        }

        @Override
        public <T> Map<String, Object> offset(Map<String, T> partition) {
            return resumable(stored.offset(partition));
        }

        @Override
        public <T> Map<Map<String, T>, Map<String, Object>> offsets(Collection<Map<String, T>> partitions) {
            Map<Map<String, T>, Map<String, Object>> result = new HashMap<>();
            stored.offsets(partitions).forEach((partition, offset) -> result.put(partition, resumable(offset)));
            return result;
        }

        @SuppressWarnings("unchecked")
        private static Map<String, Object> resumable(Map<String, Object> offset) {
            return (Map<String, Object>) WholeLsnOffsets.toResumeFrom(offset);
        }
    }
}
