import java.sql.DriverManager;
import java.sql.SQLException;

/** Whether a connection is encrypted, or the SQLSTATE that it is refused with: {@code Encrypted URL USER PASSWORD}. */
public final class Encrypted {
    public static void main(String[] arguments) throws Exception {
        try (var connection = DriverManager.getConnection(arguments[0], arguments[1], arguments[2]);
             var result = connection.createStatement().executeQuery("select current_user = '" + arguments[1] + "'")) {
            result.next();
            System.out.println(result.getString(1));
        } catch (SQLException e) {
            System.out.println(e.getSQLState());
        }
    }
}
