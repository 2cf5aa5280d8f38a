package cdc.debezium;

import io.debezium.DebeziumException;
import io.debezium.config.Configuration;
import java.io.DataInputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.lang.reflect.Proxy;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.nio.charset.StandardCharsets;
import java.sql.SQLException;
import java.util.HashMap;
import java.util.Map;
import org.apache.kafka.connect.errors.ConnectException;
import org.apache.kafka.connect.errors.RetriableException;
import org.apache.kafka.connect.source.SourceTaskContext;
import org.apache.kafka.connect.storage.OffsetStorageReader;

/** A server that shuts down in the middle of a task's start is waited for. */
public final class PostgresAwayTest {
    private static final int SSL_REQUEST = 80_877_103;
    private static final int GSS_REQUEST = 80_877_104;

    public static void main(String[] arguments) throws IOException {
        causes();
        reading("57P03", true);
        reading("28P01", false);
        System.out.println("a server that goes away while the task starts is waited for");
    }

    private static void causes() {
        for (String state : new String[] {"08001", "08003", "08006", "57P01", "57P02", "57P03"}) {
            RuntimeException error = new ConnectException(new DebeziumException(new SQLException("gone", state)));
            check(PostgresAway.retriable(error) instanceof RetriableException, state + " is tried again");
        }
        for (String state : new String[] {"28P01", "42501", "57014", null}) {
            RuntimeException error = new ConnectException(new SQLException("refused", state));
            check(PostgresAway.retriable(error) == error, state + " is as it was");
        }
        RuntimeException error = new IllegalStateException("no database in it");
        check(PostgresAway.retriable(error) == error, "other errors are as they were");
    }

    /** A task that reads its offsets, as it does when it starts, from a server that answers with an error. */
    private static void reading(String state, boolean retried) throws IOException {
        try (ServerSocket server = new ServerSocket(0, 50, InetAddress.getLoopbackAddress())) {
            Thread answering = new Thread(() -> refuse(server, state));
            answering.setDaemon(true);
            answering.start();
            Reading task = new Reading();
            task.initialize(stored(Map.of("lsn", 1L, "lsn_commit", 1L)));
            task.preStart(Configuration.create()
                    .with("topic.prefix", "test")
                    .with("database.hostname", server.getInetAddress().getHostAddress())
                    .with("database.port", server.getLocalPort())
                    .with("database.dbname", "test")
                    .with("database.user", "test")
                    .with("plugin.name", "pgoutput")
                    .build());
            try {
                task.read();
            } catch (RuntimeException error) {
                check(error instanceof RetriableException == retried, state + " gave " + error);
                return;
            }
            throw new AssertionError(state + " gave no error");
        }
    }

    /** Answers every connection with an error before it may ask anything. */
    private static void refuse(ServerSocket server, String state) {
        byte[] fields = ("SFATAL\0C" + state + "\0Mgo away\0\0").getBytes(StandardCharsets.US_ASCII);
        while (!server.isClosed()) {
            try (Socket client = server.accept()) {
                DataInputStream in = new DataInputStream(client.getInputStream());
                OutputStream out = client.getOutputStream();
                while (isEncryptionRequest(in)) {
                    out.write('N');
                }
                out.write(new byte[] {'E', 0, 0, 0, (byte) (fields.length + 4)});
                out.write(fields);
            } catch (IOException error) {
                // The client went, or the test is over.
            }
        }
    }

    private static boolean isEncryptionRequest(DataInputStream in) throws IOException {
        byte[] rest = new byte[in.readInt() - 4];
        in.readFully(rest);
        int code = new java.math.BigInteger(1, java.util.Arrays.copyOf(rest, 4)).intValue();
        return code == SSL_REQUEST || code == GSS_REQUEST;
    }

    private static SourceTaskContext stored(Map<String, Object> offset) {
        OffsetStorageReader reader = (OffsetStorageReader) Proxy.newProxyInstance(
                PostgresAwayTest.class.getClassLoader(), new Class<?>[] {OffsetStorageReader.class},
                (proxy, method, arguments) -> new HashMap<>(offset));
        return (SourceTaskContext) Proxy.newProxyInstance(
                PostgresAwayTest.class.getClassLoader(), new Class<?>[] {SourceTaskContext.class},
                (proxy, method, arguments) -> reader);
    }

    private static final class Reading extends WholeLsnPostgresTask {
        void read() {
            context.offsetStorageReader().offset(Map.of("server", "test"));
        }
    }

    private static void check(boolean holds, String what) {
        if (!holds) {
            throw new AssertionError(what);
        }
    }
}
