import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.StringReader;
import java.io.StringWriter;
import java.nio.charset.StandardCharsets;
import java.sql.BatchUpdateException;
import java.sql.Connection;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.Statement;
import java.util.Arrays;
import org.postgresql.PGConnection;
import org.postgresql.copy.CopyManager;

/** Cursors, batches, generated keys, COPY. */
final class Rows {
    private static String table(Connection c, String name) throws Exception {
        Main.execute(c, "create table " + Main.schema + "." + name + " (id int, name text)");
        return Main.schema + "." + name;
    }

    private static long count(Connection c, String query) throws Exception {
        try (Statement statement = c.createStatement(); ResultSet result = statement.executeQuery(query)) {
            result.next();
            return result.getLong(1);
        }
    }

    private static void batches(Connection c, String name) throws Exception {
        String table = table(c, name);
        try (PreparedStatement insert = c.prepareStatement("insert into " + table + " (id, name) values (?, ?)")) {
            for (int i = 0; i < 250; i++) {
                insert.setInt(1, i);
                insert.setString(2, i % 10 == 0 ? null : "n" + i);
                insert.addBatch();
            }
            int[] counts = insert.executeBatch();
            Main.equal(250, counts.length);
            for (int one : counts) Main.check(one == 1 || one == Statement.SUCCESS_NO_INFO, "count " + one);
        }
        Main.equal(250L, count(c, "select count(*) from " + table));
        Main.equal(25L, count(c, "select count(*) from " + table + " where name is null"));
        Main.equal(250L * 249 / 2, count(c, "select sum(id) from " + table));
    }

    /** What was read in portions is kept, and comes in portions again. */
    private static void portionsFromTheResultCache(Connection c) throws Exception {
        String table = table(c, "portions");
        Main.execute(c, "insert into " + table + " select i, 'n' || i from generate_series(1, 500) as g(i)");
        c.commit();
        Main.execute(c, "set client_min_messages = debug1");
        for (String expected : new String[] {"miss", "hit", "hit"}) {
            try (PreparedStatement statement = c.prepareStatement("select id, name from " + table + " where id > ? order by id")) {
                statement.setFetchSize(33);
                statement.setInt(1, 7);
                int rows = 7;
                try (ResultSet result = statement.executeQuery()) {
                    while (result.next()) {
                        Main.equal(++rows, result.getInt(1));
                        Main.equal("n" + rows, result.getString(2));
                    }
                }
                Main.equal(500, rows);
                Main.check(statement.getWarnings() != null, "a notice");
                Main.equal("result cache: " + expected, statement.getWarnings().getMessage());
            }
            c.commit();
        }
    }

    static void steps() {
        Main.step("setFetchSize in a transaction: rows come in portions", c -> {
            c.setAutoCommit(false);
            try (Statement statement = c.createStatement()) {
                statement.setFetchSize(1000);
                long sum = 0;
                try (ResultSet result = statement.executeQuery("select i from generate_series(1, 25500) as g(i)")) {
                    // Two cursors at a time.
                    try (Statement inner = c.createStatement()) {
                        inner.setFetchSize(10);
                        try (ResultSet small = inner.executeQuery("select i from generate_series(1, 95) as g(i)")) {
                            int rows = 0;
                            while (small.next()) {
                                rows++;
                                Main.check(result.next(), "a row of the outer cursor");
                                sum += result.getInt(1);
                            }
                            Main.equal(95, rows);
                        }
                    }
                    while (result.next()) sum += result.getInt(1);
                }
                Main.equal(25500L * 25501 / 2, sum);
            }
            c.commit();
            portionsFromTheResultCache(c);
        });
        Main.step("setMaxRows, and prepared statements with a fetch size", c -> {
            c.setAutoCommit(false);
            try (PreparedStatement statement = c.prepareStatement("select i, 'text ' || i from generate_series(1, ?) as g(i)")) {
                for (int round = 0; round < 7; round++) {
                    statement.setInt(1, 350);
                    statement.setFetchSize(100);
                    statement.setMaxRows(round % 2 == 0 ? 0 : 150);
                    int rows = 0;
                    try (ResultSet result = statement.executeQuery()) {
                        while (result.next()) Main.equal("text " + ++rows, result.getString(2));
                    }
                    Main.equal(round % 2 == 0 ? 350 : 150, rows);
                }
            }
            c.rollback();
        });
        Main.step("DECLARE SCROLL and FETCH by statements", c -> {
            c.setAutoCommit(false);
            Main.execute(c, "declare k scroll cursor for select i from generate_series(1, 10) as g(i)", "move forward 5 in k");
            Main.equal(6L, count(c, "fetch next from k"));
            Main.equal(5L, count(c, "fetch prior from k"));
            Main.equal(10L, count(c, "fetch last from k"));
            Main.execute(c, "close k");
            c.commit();
        });
        Main.step("scrollable and updatable result sets", c -> {
            try (Statement statement = c.createStatement(ResultSet.TYPE_SCROLL_INSENSITIVE, ResultSet.CONCUR_READ_ONLY);
                 ResultSet result = statement.executeQuery("select i from generate_series(1, 10) as g(i)")) {
                Main.check(result.last() && result.getInt(1) == 10 && result.absolute(3) && result.getInt(1) == 3 && result.previous() && result.getInt(1) == 2, "scrolls");
            }
        });
        Main.step("batches", c -> batches(c, "batches"));
        Main.step("batches with reWriteBatchedInserts", c -> {
            try (Connection other = Main.connect("reWriteBatchedInserts", "true")) { batches(other, "rewritten"); }
        });
        Main.step("batches in a transaction, of several statements, and one that fails", c -> {
            String table = table(c, "mixed");
            c.setAutoCommit(false);
            try (Statement statement = c.createStatement()) {
                statement.addBatch("insert into " + table + " values (1, 'a'), (2, 'b')");
                statement.addBatch("update " + table + " set name = 'c' where id = 2");
                statement.addBatch("delete from " + table + " where id = 1");
                Main.equal("[2, 1, 1]", Arrays.toString(statement.executeBatch()));
                c.commit();
                statement.addBatch("insert into " + table + " values (3, 'd')");
                statement.addBatch("insert into " + table + " values ('x', 'd')");
                try {
                    statement.executeBatch();
                    throw new AssertionError("no error");
                } catch (BatchUpdateException e) {
                    Main.equal("22P02", e.getSQLState());
                }
                c.rollback();
            }
            Main.equal(1L, count(c, "select count(*) from " + table));
        });
        Main.step("update counts of insert, update, delete and merge", c -> {
            String table = table(c, "counts");
            try (Statement statement = c.createStatement()) {
                Main.equal(3, statement.executeUpdate("insert into " + table + " select i, 'n' from generate_series(1, 3) as g(i)"));
                Main.equal(2, statement.executeUpdate("update " + table + " set name = 'm' where id > 1"));
                Main.equal(0, statement.executeUpdate("update " + table + " set name = 'm' where id > 9"));
                Main.equal(1, statement.executeUpdate("merge into " + table + " t using (select 1 as id) s on t.id = s.id when matched then update set name = 'z'"));
                Main.equal(3L, statement.executeLargeUpdate("delete from " + table));
                Main.equal(0, statement.executeUpdate("create table " + table + "_2 (x int)"));
            }
        });
        Main.step("getGeneratedKeys and RETURNING", c -> {
            String table = table(c, "keys");
            try (PreparedStatement insert = c.prepareStatement("insert into " + table + " (id, name) values (?, ?)", new String[] {"id", "name"})) {
                insert.setInt(1, 5);
                insert.setString(2, "five");
                Main.equal(1, insert.executeUpdate());
                try (ResultSet keys = insert.getGeneratedKeys()) {
                    Main.check(keys.next() && keys.getInt("id") == 5 && "five".equals(keys.getString("name")) && !keys.next(), "keys");
                }
            }
            try (Statement statement = c.createStatement()) {
                Main.equal(2, statement.executeUpdate("insert into " + table + " values (6, 'six'), (7, 'seven')", Statement.RETURN_GENERATED_KEYS));
                try (ResultSet keys = statement.getGeneratedKeys()) {
                    Main.check(keys.next() && keys.getInt(1) == 6 && keys.next() && keys.getInt(1) == 7, "all columns");
                }
                try (ResultSet result = statement.executeQuery("update " + table + " set name = upper(name) where id = 6 returning id, name")) {
                    Main.check(result.next() && "SIX".equals(result.getString(2)), "returning");
                }
            }
        });
        Main.step("CopyManager: text and CSV", c -> {
            String table = table(c, "copied");
            CopyManager copies = c.unwrap(PGConnection.class).getCopyAPI();
            Main.equal(2L, copies.copyIn("copy " + table + " from stdin", new StringReader("1\tone\n2\t\\N\n")));
            Main.equal(1L, copies.copyIn("copy " + table + " from stdin (format csv, header)", new StringReader("id,name\n3,\"a,\"\"b\"\n")));
            StringWriter out = new StringWriter();
            Main.equal(3L, copies.copyOut("copy (select * from " + table + " order by id) to stdout (format csv)", out));
            Main.equal("1,one\n2,\n3,\"a,\"\"b\"\n", out.toString());
            try {
                copies.copyIn("copy " + table + " from stdin", new StringReader("4\tfour\nx\tfive\n"));
                throw new AssertionError("no error");
            } catch (org.postgresql.util.PSQLException e) {
                Main.equal("22P02", e.getSQLState());
            }
            Main.equal(3L, count(c, "select count(*) from " + table));
            var writing = copies.copyIn("copy " + table + " from stdin");
            byte[] some = "9\tnine\n".getBytes(StandardCharsets.UTF_8);
            writing.writeToCopy(some, 0, some.length);
            writing.cancelCopy();
            Main.equal(3L, count(c, "select count(*) from " + table));
        });
        Main.step("CopyManager: binary", c -> {
            String table = table(c, "copied_binary");
            CopyManager copies = c.unwrap(PGConnection.class).getCopyAPI();
            ByteArrayOutputStream out = new ByteArrayOutputStream();
            Main.equal(1000L, copies.copyOut("copy (select i::int4, 'n' || i from generate_series(1, 1000) as g(i)) to stdout (format binary)", out));
            Main.equal(1000L, copies.copyIn("copy " + table + " from stdin (format binary)", new ByteArrayInputStream(out.toByteArray())));
            Main.equal(500500L, count(c, "select sum(id) from " + table + " where name = 'n' || id"));
        });
    }
}
