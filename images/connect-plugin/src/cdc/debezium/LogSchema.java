package cdc.debezium;

import io.debezium.connector.common.CdcSourceTaskContext;
import io.debezium.connector.postgresql.PostgresConnectorConfig;
import io.debezium.connector.postgresql.PostgresSchema;
import io.debezium.relational.Table;
import io.debezium.relational.TableId;
import java.util.HashMap;
import java.util.Map;

/**
 * The tables as the log describes them, for the reader of the log.
 *
 * <p>PostgreSQL describes a table once a session, before its first row. A blocking snapshot puts what the catalog says now of all
 * tables into the schema that reader and snapshot share, generated columns included, which the log does not carry: values of
 * rows that follow would be taken for those of the column before. So the last description is kept here, and the shared
 * schema gets it back before the next row of the table is read.
 */
final class LogSchema extends PostgresSchema {
    private final PostgresSchema shared;
    private final Map<Integer, Table> described = new HashMap<>();

    LogSchema(CdcSourceTaskContext<PostgresConnectorConfig> context, PostgresSchema shared) {
        // What makes records of rows stays with the shared schema.
        super(context, null, null, null, null);
        this.shared = shared;
    }

    @Override
    public void applySchemaChangesForTable(int relationId, Table table) {
        shared.applySchemaChangesForTable(relationId, table);
        described.put(relationId, shared.tableFor(table.id()));
    }

    /** Null when the table is not captured. */
    @Override
    public Table tableFor(int relationId) {
        Table table = described.get(relationId);
        if (table != null && table != shared.tableFor(table.id())) {
            shared.refresh(table);
            table = shared.tableFor(table.id());
            described.put(relationId, table);
        }
        return table;
    }

    @Override
    public Table tableFor(TableId id) {
        return shared.tableFor(id);
    }
}
