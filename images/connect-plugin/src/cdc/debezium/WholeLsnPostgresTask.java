package cdc.debezium;

import io.debezium.DebeziumException;
import io.debezium.config.Configuration;
import io.debezium.connector.common.CdcSourceTaskContext;
import io.debezium.connector.postgresql.PostgresConnectorConfig;
import io.debezium.connector.postgresql.PostgresConnectorTask;
import io.debezium.connector.postgresql.PostgresOffsetContext;
import io.debezium.connector.postgresql.PostgresPartition;
import io.debezium.connector.postgresql.PostgresSchema;
import io.debezium.connector.postgresql.connection.PostgresConnection;
import io.debezium.connector.postgresql.connection.ReplicationConnection;
import io.debezium.connector.postgresql.spi.SlotState;
import io.debezium.pipeline.ChangeEventSourceCoordinator;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Proxy;
import java.sql.SQLException;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import org.apache.kafka.connect.source.SourceRecord;
import org.apache.kafka.connect.source.SourceTaskContext;
import org.apache.kafka.connect.storage.OffsetStorageReader;

/**
 * Debezium's task. What it stores and what it reads of offsets goes through {@link WholeLsnOffsets}; rows of the log are read
 * by what {@link LogSchema} says of their table. A start that fails because PostgreSQL is away is tried again.
 */
public class WholeLsnPostgresTask extends PostgresConnectorTask {
    private final Map<Map<String, ?>, WholeLsnOffsets> offsets = new ConcurrentHashMap<>();
    private CdcSourceTaskContext<PostgresConnectorConfig> taskContext;
    private boolean slotAsked;
    private Long flushed;

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

    /** Called before each start, also before one in place after an error. */
    @Override
    public CdcSourceTaskContext<PostgresConnectorConfig> preStart(Configuration configuration) {
        slotAsked = false;
        taskContext = super.preStart(configuration);
        return taskContext;
    }

    @Override
    public ChangeEventSourceCoordinator<PostgresPartition, PostgresOffsetContext> start(Configuration configuration) {
        try {
            return super.start(configuration);
        } catch (RuntimeException error) {
            throw PostgresAway.retriable(error);
        }
    }

    @Override
    protected ReplicationConnection buildReplicationConnection(
            PostgresConnection connection, PostgresSchema schema, PostgresConnectorConfig configuration) throws SQLException {
        return super.buildReplicationConnection(connection, new LogSchema(taskContext, schema), configuration);
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

    /** Where the slot was when the task started; null for no slot. Asked late, so that Debezium's own errors come first. */
    private Long flushed() {
        if (!slotAsked) {
            PostgresConnectorConfig configuration = taskContext.getConfig();
            try (PostgresConnection connection =
                    new PostgresConnection(configuration.getJdbcConfig(), PostgresConnection.CONNECTION_SLOT_INFO)) {
                SlotState slot = connection.getReplicationSlotState(
                        configuration.slotName(), configuration.plugin().getPostgresPluginName());
                flushed = slot == null ? null : slot.slotLastFlushedLsn().asLong();
                slotAsked = true;
            } catch (SQLException error) {
                throw PostgresAway.retriable(new DebeziumException("Couldn't read where the replication slot is", error));
            } catch (RuntimeException error) {
                throw PostgresAway.retriable(error);
            }
        }
        return flushed;
    }

    private final class Reader implements OffsetStorageReader {
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
        private Map<String, Object> resumable(Map<String, Object> offset) {
            return offset == null ? null : (Map<String, Object>) WholeLsnOffsets.toResumeFrom(offset, flushed());
        }
    }
}
