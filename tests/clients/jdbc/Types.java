import java.math.BigDecimal;
import java.sql.Array;
import java.sql.Connection;
import java.sql.Date;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.Timestamp;
import java.time.LocalDate;
import java.time.LocalDateTime;
import java.time.LocalTime;
import java.time.OffsetDateTime;
import java.time.ZoneOffset;
import java.util.Arrays;
import java.util.UUID;

/** Values of every type as parameters and results, as text and, after prepareThreshold, in binary. */
final class Types {
    private static final Object[][] VALUES = {
        {"boolean", true}, {"smallint", -7}, {"integer", Integer.MAX_VALUE}, {"bigint", Long.MIN_VALUE}, {"real", 1.5f}, {"double precision", -0.1},
        {"numeric", new BigDecimal("-1234567890.0123456789")}, {"numeric(10,3)", new BigDecimal("0.005")}, {"text", "häß\t'\\\n"}, {"varchar", ""},
        {"bytea", new byte[] {0, -1, 92}}, {"date", Date.valueOf("1969-12-31")}, {"timestamp", Timestamp.valueOf("1969-12-31 23:59:59.999999")},
        {"timestamptz", Timestamp.from(OffsetDateTime.of(2038, 1, 19, 3, 14, 8, 0, ZoneOffset.UTC).toInstant())},
        {"uuid", UUID.fromString("01234567-89ab-cdef-0123-456789abcdef")},
    };

    private static Connection binary(int threshold) throws Exception {
        return Main.connect("prepareThreshold", String.valueOf(threshold));
    }

    private static void roundTrip(Connection c, int times) throws Exception {
        for (Object[] pair : VALUES) {
            try (PreparedStatement statement = c.prepareStatement("select ?::" + pair[0] + ", null::" + pair[0])) {
                for (int i = 0; i < times; i++) {
                    statement.setObject(1, pair[1]);
                    try (ResultSet result = statement.executeQuery()) {
                        Main.check(result.next(), "a row");
                        Main.equal(pair[1], result.getObject(1));
                        Main.equal(null, result.getObject(2));
                    }
                }
            }
        }
    }

    static void steps() {
        Main.step("every type in text", c -> {
            try (Connection text = binary(0)) { roundTrip(text, 2); }
        });
        Main.step("every type in binary, from the first execution", c -> {
            try (Connection all = binary(-1)) { roundTrip(all, 2); }
        });
        Main.step("every type across prepareThreshold", c -> {
            try (Connection some = binary(3)) { roundTrip(some, 6); }
        });
        Main.step("setObject and getObject of java.time", c -> {
            for (int threshold : new int[] {0, -1}) {
                try (Connection other = binary(threshold);
                     PreparedStatement statement = other.prepareStatement("select ?::date, ?::timestamp, ?::timestamptz, ?::time")) {
                    LocalDate date = LocalDate.of(2024, 2, 29);
                    LocalDateTime stamp = LocalDateTime.of(1999, 12, 31, 23, 59, 59, 123_456_000);
                    OffsetDateTime zoned = OffsetDateTime.of(2024, 6, 1, 12, 0, 0, 0, ZoneOffset.ofHours(5));
                    LocalTime time = LocalTime.of(1, 2, 3, 4_000);
                    statement.setObject(1, date);
                    statement.setObject(2, stamp);
                    statement.setObject(3, zoned);
                    statement.setObject(4, time);
                    try (ResultSet result = statement.executeQuery()) {
                        result.next();
                        Main.equal(date, result.getObject(1, LocalDate.class));
                        Main.equal(stamp, result.getObject(2, LocalDateTime.class));
                        Main.equal(zoned.toInstant(), result.getObject(3, OffsetDateTime.class).toInstant());
                        Main.equal(time, result.getObject(4, LocalTime.class));
                    }
                }
            }
        });
        Main.step("setDate, setTimestamp and setTime without a type", c -> {
            try (PreparedStatement statement = c.prepareStatement("select count(*) from (values (date '2024-01-01', timestamp '2024-01-01 10:00:00')) as v(d, t) where d >= ? and t < ? and t >= ?")) {
                statement.setDate(1, Date.valueOf("2024-01-01"));
                statement.setTimestamp(2, Timestamp.valueOf("2024-01-01 10:00:01"));
                statement.setObject(3, LocalDate.of(2024, 1, 1));
                try (ResultSet result = statement.executeQuery()) {
                    result.next();
                    Main.equal(1L, result.getLong(1));
                }
            }
        });
        Main.step("null parameters without a type", c -> {
            for (int threshold : new int[] {0, -1}) {
                try (Connection other = binary(threshold); PreparedStatement statement = other.prepareStatement("select ? as x, coalesce(?, 'd'), ?::int is null")) {
                    statement.setNull(1, java.sql.Types.NULL);
                    statement.setNull(2, java.sql.Types.VARCHAR);
                    statement.setObject(3, null);
                    try (ResultSet result = statement.executeQuery()) {
                        result.next();
                        Main.equal(null, result.getString(1));
                        Main.equal("d", result.getString(2));
                        Main.equal(true, result.getBoolean(3));
                    }
                }
            }
        });
        Main.step("arrays", c -> {
            for (int threshold : new int[] {0, -1}) {
                try (Connection other = binary(threshold);
                     PreparedStatement statement = other.prepareStatement("select ?::int4[], ?::text[], ?::float8[], 3 = any(?)")) {
                    Array numbers = other.createArrayOf("int4", new Object[] {1, null, 3});
                    statement.setArray(1, numbers);
                    statement.setArray(2, other.createArrayOf("text", new Object[] {"a,b", null, "\"", ""}));
                    statement.setObject(3, new double[] {0.5, -1});
                    statement.setArray(4, numbers);
                    try (ResultSet result = statement.executeQuery()) {
                        result.next();
                        Main.equal(Arrays.asList(1, null, 3), Arrays.asList((Object[]) result.getArray(1).getArray()));
                        Main.equal(Arrays.asList("a,b", null, "\"", ""), Arrays.asList((Object[]) result.getArray(2).getArray()));
                        Main.equal(Arrays.asList(0.5, -1.0), Arrays.asList((Object[]) result.getArray(3).getArray()));
                        Main.equal(true, result.getBoolean(4));
                    }
                }
            }
        });
        Main.step("intervals and other types by name", c -> {
            for (int threshold : new int[] {0, -1}) {
                try (Connection other = binary(threshold); PreparedStatement statement = other.prepareStatement("select interval '1 month 2 days 3 hours 4 minutes 5.5 seconds', 'x'::name, 7::oid, '{\"a\": 1}'::json")) {
                    try (ResultSet result = statement.executeQuery()) {
                        result.next();
                        var interval = (org.postgresql.util.PGInterval) result.getObject(1);
                        Main.equal("1 2 3 4 5.5", interval.getMonths() + " " + interval.getDays() + " " + interval.getHours() + " " + interval.getMinutes() + " " + interval.getSeconds());
                        Main.equal("x", result.getString(2));
                        Main.equal(7L, result.getLong(3));
                        Main.equal("{\"a\": 1}", result.getString(4));
                    }
                }
            }
        });
        Main.step("a table's columns in binary", c -> {
            String table = Main.schema + ".customers";
            try (Connection other = binary(-1);
                 PreparedStatement insert = other.prepareStatement("insert into " + table + " (id, name, balance, born, seen, touched, active, score, tags, u, raw, i, r) values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)");
                 PreparedStatement select = other.prepareStatement("select * from " + table + " where id = ?")) {
                Object[] row = {77L, "n", new BigDecimal("12.50"), Date.valueOf("2024-02-29"), Timestamp.valueOf("2024-02-29 01:02:03.000004"),
                    Timestamp.valueOf("2024-02-29 01:02:03"), true, 0.25, null, UUID.randomUUID(), new byte[] {1, 2}, 4, 0.5f};
                for (int i = 0; i < row.length; i++) insert.setObject(i + 1, row[i]);
                insert.setArray(9, other.createArrayOf("text", new Object[] {"x", "y"}));
                Main.equal(1, insert.executeUpdate());
                select.setLong(1, 77);
                try (ResultSet result = select.executeQuery()) {
                    Main.check(result.next(), "the row");
                    for (int i = 0; i < row.length; i++) if (i != 8) Main.equal(row[i], result.getObject(i + 1));
                    Main.equal(Arrays.asList("x", "y"), Arrays.asList((Object[]) result.getArray(9).getArray()));
                }
            }
        });
    }
}
