package cdc.debezium;

import io.debezium.config.Configuration;
import io.debezium.connector.common.CdcSourceTaskContext;
import io.debezium.connector.postgresql.PostgresConnectorConfig;
import io.debezium.connector.postgresql.PostgresConnectorTask;
import io.debezium.connector.postgresql.PostgresSchema;
import io.debezium.relational.Column;
import io.debezium.relational.Table;
import io.debezium.relational.TableId;
import java.util.List;

/** Whatever a snapshot puts into the schema that all share: rows of the log are read by what the log said of their table. */
public final class LogSchemaTest {
    private static final TableId ORDERS = new TableId(null, "inventory", "orders");
    private static final TableId OTHERS = new TableId(null, "elsewhere", "others");
    private static final int RELATION = 16_400;

    public static void main(String[] arguments) {
        CdcSourceTaskContext<PostgresConnectorConfig> context = new PostgresConnectorTask().preStart(Configuration.create()
                .with("topic.prefix", "test")
                .with("database.dbname", "test")
                .with("schema.include.list", "inventory")
                .build());
        PostgresSchema shared = new Shared(context);
        LogSchema log = new LogSchema(context, shared);
        check(log.tableFor(RELATION) == null, "a table that the log did not describe is not known");

        Table described = table(ORDERS, "id", "status");
        log.applySchemaChangesForTable(RELATION, described);
        check(described.equals(log.tableFor(RELATION)), "the log's description");
        check(described.equals(shared.tableFor(ORDERS)), "is the shared schema's");

        shared.refresh(table(ORDERS, "id", "total_with_tax", "status"));
        check(described.equals(log.tableFor(RELATION)), "a snapshot does not change how the log is read");
        check(described.equals(shared.tableFor(ORDERS)), "nor how its rows become records");
        check(log.tableFor(ORDERS) == shared.tableFor(ORDERS), "by name, the table is the shared schema's");

        Table altered = table(ORDERS, "id", "status", "note");
        log.applySchemaChangesForTable(RELATION, altered);
        shared.refresh(described);
        check(altered.equals(log.tableFor(RELATION)), "the last description counts");

        log.applySchemaChangesForTable(RELATION + 1, table(OTHERS, "id"));
        check(log.tableFor(RELATION + 1) == null, "a table that is not captured stays out");
        System.out.println("rows of the log are read by the log's own description");
    }

    private static Table table(TableId id, String... columns) {
        return Table.editor()
                .tableId(id)
                .addColumns(List.of(columns).stream().map(name -> Column.editor().name(name).type("text").create()).toList())
                .create();
    }

    private static void check(boolean holds, String what) {
        if (!holds) {
            throw new AssertionError(what);
        }
    }

    /** Debezium's schema, without what makes records: that needs a database's types. */
    private static final class Shared extends PostgresSchema {
        private Shared(CdcSourceTaskContext<PostgresConnectorConfig> context) {
            super(context, null, null, null, null);
        }

        @Override
        protected void buildAndRegisterSchema(Table table) {}
    }
}
