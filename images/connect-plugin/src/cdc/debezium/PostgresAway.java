package cdc.debezium;

import java.sql.SQLException;
import org.apache.kafka.connect.errors.RetriableException;

/** A database that is away is waited for; Debezium fails the task for good where it goes away while the task starts. */
final class PostgresAway {
    private static final String CONNECTION = "08";
    /** The server is being shut down or started, or ended the connection because of it. */
    private static final String OPERATOR_INTERVENTION = "57P0";

    private PostgresAway() {}

    /** The error to throw instead: one that is tried again where PostgreSQL was away, else the error as it is. */
    static RuntimeException retriable(RuntimeException error) {
        for (Throwable cause = error; cause != null; cause = cause.getCause()) {
            if (cause instanceof SQLException && isAway(((SQLException) cause).getSQLState())) {
                return new RetriableException("PostgreSQL is away: " + cause.getMessage(), error);
            }
        }
        return error;
    }

    private static boolean isAway(String state) {
        return state != null && (state.startsWith(CONNECTION) || state.startsWith(OPERATOR_INTERVENTION));
    }
}
