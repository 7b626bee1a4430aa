import java.sql.Connection;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Savepoint;
import java.sql.Statement;
import java.util.concurrent.Executors;
import java.util.concurrent.TimeUnit;

/** Transactions, settings, timeouts, cancel, the options of a connection. */
final class Sessions {
    private static final String LONG = "select count(*) from generate_series(1, 20000) as a(x), generate_series(1, 20000) as b(y), generate_series(1, 100) as c(z) where x * y % 7 = z";

    interface Action {
        void run() throws Exception;
    }

    private static void fails(String state, Action action) throws Exception {
        try {
            action.run();
        } catch (SQLException e) {
            Main.equal(state, e.getSQLState());
            return;
        }
        throw new AssertionError("no error, expected " + state);
    }

    private static int one(Connection c, String query) throws Exception {
        try (Statement statement = c.createStatement(); ResultSet result = statement.executeQuery(query)) {
            result.next();
            return result.getInt(1);
        }
    }

    static void steps() {
        Main.step("transactions and savepoints", c -> {
            Main.execute(c, "create table " + Main.schema + ".saved (x int)");
            c.setAutoCommit(false);
            Main.execute(c, "insert into " + Main.schema + ".saved values (1)");
            Savepoint savepoint = c.setSavepoint("s");
            Main.execute(c, "insert into " + Main.schema + ".saved values (2)");
            c.rollback(savepoint);
            c.releaseSavepoint(c.setSavepoint());
            fails("22P02", () -> Main.execute(c, "select 'x'::int"));
            fails("25P02", () -> Main.execute(c, "select 1"));
            c.rollback(savepoint);
            Main.equal(1, one(c, "select count(*) from " + Main.schema + ".saved"));
            c.commit();
            c.setTransactionIsolation(Connection.TRANSACTION_SERIALIZABLE);
            c.setReadOnly(true);
            fails("25006", () -> Main.execute(c, "insert into " + Main.schema + ".saved values (3)"));
            c.rollback();
            c.setReadOnly(false);
        });
        Main.step("autosave=always", c -> {
            try (Connection saving = Main.connect("autosave", "always", "cleanupSavepoints", "true")) {
                saving.setAutoCommit(false);
                Main.equal(1, one(saving, "select 1"));
                fails("42P01", () -> Main.execute(saving, "select * from nowhere"));
                Main.equal(2, one(saving, "select 2"));
                saving.commit();
            }
        });
        Main.step("autosave=always with changes", c -> {
            Main.execute(c, "create table " + Main.schema + ".autosaved (x int)");
            try (Connection saving = Main.connect("autosave", "always")) {
                saving.setAutoCommit(false);
                try (PreparedStatement insert = saving.prepareStatement("insert into " + Main.schema + ".autosaved values (?)")) {
                    for (int i = 0; i < 8; i++) {
                        insert.setInt(1, i);
                        insert.executeUpdate();
                        fails("22012", () -> one(saving, "select 1/0"));
                    }
                }
                saving.commit();
            }
            Main.equal(8, one(c, "select count(*) from " + Main.schema + ".autosaved"));
        });
        Main.step("setQueryTimeout", c -> {
            try (Statement statement = c.createStatement()) {
                statement.setQueryTimeout(1);
                fails("57014", () -> statement.executeQuery(LONG));
                statement.setQueryTimeout(60);
                Main.check(statement.executeQuery("select 1").next(), "goes on");
            }
        });
        Main.step("cancel from another thread", c -> {
            var threads = Executors.newSingleThreadScheduledExecutor();
            try (Statement statement = c.createStatement()) {
                threads.schedule(() -> { statement.cancel(); return null; }, 500, TimeUnit.MILLISECONDS);
                fails("57014", () -> statement.executeQuery(LONG));
                Main.check(statement.executeQuery("select 1").next(), "goes on");
            } finally {
                threads.shutdownNow();
            }
        });
        Main.step("statement_timeout, client info and other settings", c -> {
            Main.execute(c, "set statement_timeout = '300ms'");
            fails("57014", () -> Main.execute(c, LONG));
            Main.execute(c, "reset statement_timeout");
            c.setClientInfo("ApplicationName", "a name");
            try (Statement statement = c.createStatement(); ResultSet result = statement.executeQuery("select application_name from pg_stat_activity where pid = pg_backend_pid()")) {
                Main.check(result.next(), "own line");
                Main.equal("a name", result.getString(1));
            }
            try (Connection other = Main.connect("ApplicationName", "other", "options", "-c search_path=" + Main.schema, "currentSchema", Main.schema, "connectTimeout", "10", "socketTimeout", "60", "loginTimeout", "10", "tcpKeepAlive", "true")) {
                Main.equal(Main.schema, other.getSchema());
            }
        });
        Main.step("several statements in one, with several results", c -> {
            try (Statement statement = c.createStatement()) {
                Main.check(statement.execute("select 1; set time zone 'UTC'; select 2, 'x;y'"), "a result");
                Main.check(!statement.getMoreResults(), "no rows");
                Main.check(statement.getMoreResults() && statement.getResultSet().next(), "a second result");
            }
        });
        Main.step("preferQueryMode=simple and extendedForPrepared", c -> {
            for (String mode : new String[] {"simple", "extendedForPrepared", "extendedCacheEverything"}) {
                try (Connection other = Main.connect("preferQueryMode", mode);
                     PreparedStatement statement = other.prepareStatement("select ? + 1, ?, 'it''s'")) {
                    for (int i = 0; i < 7; i++) {
                        statement.setInt(1, i);
                        statement.setString(2, "a'b\\");
                        try (ResultSet result = statement.executeQuery()) {
                            result.next();
                            Main.equal(i + 1, result.getInt(1));
                            Main.equal("a'b\\", result.getString(2));
                        }
                    }
                }
            }
        });
        Main.step("errors: state, position, detail", c -> {
            try {
                Main.execute(c, "select nothing from " + Main.schema + ".customers");
                throw new AssertionError("no error");
            } catch (org.postgresql.util.PSQLException e) {
                Main.equal("42703", e.getSQLState());
                Main.equal(8, e.getServerErrorMessage().getPosition());
            }
            fails("42601", () -> Main.execute(c, "selec 1"));
            fails("42P01", () -> Main.execute(c, "select * from nowhere"));
            fails("22012", () -> Main.execute(c, "select 1/0"));
            Main.equal(1, one(c, "select 1"));
        });
        Main.step("JDBC escapes and function calls", c -> {
            Main.equal(3, one(c, "select {fn length({fn concat('ab', 'c')})}"));
            Main.equal(1, one(c, "select count(*) from (values (1)) as v(x) where {d '2024-01-01'} < {ts '2024-01-02 00:00:00'}"));
        });
        Main.step("a table dropped and made anew under a prepared statement", c -> {
            String table = Main.schema + ".anew";
            Main.execute(c, "create table " + table + " (a int)", "insert into " + table + " values (1)");
            try (PreparedStatement statement = c.prepareStatement("select * from " + table)) {
                for (int i = 0; i < 7; i++) statement.executeQuery().close();
                Main.execute(c, "drop table " + table, "create table " + table + " (a text, b int)", "insert into " + table + " values ('x', 2)");
                try (ResultSet result = statement.executeQuery()) {
                    Main.check(result.next(), "a row");
                    Main.equal("x", result.getString(1));
                    Main.equal(2, result.getInt(2));
                }
            }
        });
    }
}
