import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.Statement;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Properties;

/**
 * Steps of pgjdbc against a server: {@code Main URL USER SCHEMA}. Prints a line for each: its name, a tab, and {@code ok}
 * or what went wrong. Each step has a connection of its own.
 */
public final class Main {
    /** What a step does. */
    interface Body {
        void run(Connection connection) throws Exception;
    }

    static final Map<String, Body> STEPS = new LinkedHashMap<>();
    static String url;
    static String user;
    static String schema;

    static void step(String name, Body body) {
        if (STEPS.put(name, body) != null) throw new IllegalStateException(name);
    }

    static Connection connect(String... properties) throws Exception {
        Properties all = new Properties();
        all.setProperty("user", user);
        for (int i = 0; i < properties.length; i += 2) all.setProperty(properties[i], properties[i + 1]);
        return DriverManager.getConnection(url, all);
    }

    static void equal(Object expected, Object found) {
        boolean same = expected instanceof byte[] bytes && found instanceof byte[] others
            ? java.util.Arrays.equals(bytes, others) : java.util.Objects.equals(expected, found);
        if (!same) throw new AssertionError("expected " + shown(expected) + ", found " + shown(found));
    }

    static void check(boolean condition, String what) {
        if (!condition) throw new AssertionError(what);
    }

    private static String shown(Object value) {
        if (value == null) return "null";
        if (value instanceof byte[] bytes) return java.util.Arrays.toString(bytes);
        return value + " (" + value.getClass().getSimpleName() + ")";
    }

    static void execute(Connection connection, String... statements) throws Exception {
        try (Statement statement = connection.createStatement()) {
            for (String text : statements) statement.execute(text);
        }
    }

    public static void main(String[] arguments) throws Exception {
        url = arguments[0];
        user = arguments[1];
        schema = arguments[2];
        Metadata.steps();
        Types.steps();
        Rows.steps();
        Sessions.steps();
        try (Connection connection = connect()) {
            Metadata.create(connection);
        }
        for (Map.Entry<String, Body> step : STEPS.entrySet()) {
            String outcome = "ok";
            try (Connection connection = connect()) {
                step.getValue().run(connection);
            } catch (Throwable thrown) {
                StackTraceElement at = thrown.getStackTrace().length > 0 ? thrown.getStackTrace()[0] : null;
                for (StackTraceElement element : thrown.getStackTrace()) {
                    if (element.getFileName() != null && element.getFileName().matches("(Metadata|Types|Rows|Sessions)\\.java")) {
                        at = element;
                        break;
                    }
                }
                outcome = (thrown + " at " + at).replaceAll("\\s+", " ");
            }
            System.out.println(step.getKey() + "\t" + outcome);
        }
    }
}
