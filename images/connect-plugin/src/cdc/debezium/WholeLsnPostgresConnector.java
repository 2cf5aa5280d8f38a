package cdc.debezium;

import io.debezium.connector.postgresql.PostgresConnector;
import org.apache.kafka.connect.connector.Task;

/** Debezium's PostgreSQL connector, whose stored offsets never point into the middle of an LSN. */
public class WholeLsnPostgresConnector extends PostgresConnector {
    @Override
    public Class<? extends Task> taskClass() {
        return WholeLsnPostgresTask.class;
    }
}
