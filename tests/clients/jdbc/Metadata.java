import java.sql.Connection;
import java.sql.DatabaseMetaData;
import java.sql.ResultSet;
import java.sql.ResultSetMetaData;
import java.sql.Types;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashSet;
import java.util.List;
import java.util.Set;

/** DatabaseMetaData, as Metabase, DataGrip and DBeaver call it. */
final class Metadata {
    static void create(Connection connection) throws Exception {
        Main.execute(connection,
            "create schema " + Main.schema,
            "create table " + Main.schema + ".customers (id bigint not null primary key, name text not null, balance numeric(12,2), "
                + "born date, seen timestamp, touched timestamptz, active boolean, score double precision, tags text[], u uuid, raw bytea, i integer, r real)",
            "create table " + Main.schema + ".orders (id bigint not null, customer_id bigint, amount numeric(10,2))",
            "create view " + Main.schema + ".active_customers as select id, name from " + Main.schema + ".customers where active",
            "comment on table " + Main.schema + ".customers is 'who buys'",
            "comment on column " + Main.schema + ".customers.name is 'as written'");
    }

    /** The rows as lists of the named columns' texts. */
    static List<List<String>> rows(ResultSet result, String... columns) throws Exception {
        List<List<String>> rows = new ArrayList<>();
        while (result.next()) {
            List<String> row = new ArrayList<>();
            for (String column : columns) row.add(result.getString(column));
            rows.add(row);
        }
        return rows;
    }

    static void steps() {
        Main.step("getTables", c -> {
            DatabaseMetaData meta = c.getMetaData();
            String[] types = {"TABLE", "PARTITIONED TABLE", "VIEW", "FOREIGN TABLE", "MATERIALIZED VIEW"};
            Main.equal(List.of(List.of("customers", "TABLE", "who buys"), Arrays.asList("orders", "TABLE", null)),
                rows(meta.getTables(null, Main.schema, "%", new String[] {"TABLE"}), "TABLE_NAME", "TABLE_TYPE", "REMARKS"));
            Main.equal(List.of(List.of("customers"), List.of("orders"), List.of("active_customers")),
                rows(meta.getTables(c.getCatalog(), Main.schema, "%", types), "TABLE_NAME"));
            Main.equal(List.of(List.of("active_customers")), rows(meta.getTables(null, Main.schema, "active%", null), "TABLE_NAME"));
            Main.equal(List.of(), rows(meta.getTables(null, "no_such_schema", "%", types), "TABLE_NAME"));
            Main.check(!rows(meta.getTables(null, "pg_catalog", "pg_class", null), "TABLE_TYPE").isEmpty(), "system tables");
        });
        Main.step("getColumns", c -> {
            DatabaseMetaData meta = c.getMetaData();
            List<List<String>> found = rows(meta.getColumns(null, Main.schema, "customers", "%"),
                "COLUMN_NAME", "DATA_TYPE", "TYPE_NAME", "NULLABLE", "ORDINAL_POSITION", "REMARKS", "IS_AUTOINCREMENT");
            String[] types = {"int8 -5", "text 12", "numeric 2", "date 91", "timestamp 93", "timestamptz 93", "bool -7", "float8 8", "_text 2003",
                "uuid 1111", "bytea -2", "int4 4", "float4 7"};
            Main.equal(types.length, found.size());
            for (int i = 0; i < types.length; i++) Main.equal(types[i], found.get(i).get(2) + " " + found.get(i).get(1));
            Main.equal(Arrays.asList("id", "-5", "int8", "0", "1", null, "NO"), found.get(0));
            Main.equal(Arrays.asList("name", "12", "text", "0", "2", "as written", "NO"), found.get(1));
            Main.equal(List.of(List.of("balance", "12", "2", "YES")),
                rows(meta.getColumns(null, Main.schema, "customers", "bal%"), "COLUMN_NAME", "COLUMN_SIZE", "DECIMAL_DIGITS", "IS_NULLABLE"));
            Main.equal(List.of(List.of("id"), List.of("name")), rows(meta.getColumns(null, Main.schema, "active_customers", null), "COLUMN_NAME"));
        });
        Main.step("getPrimaryKeys", c -> {
            List<List<String>> found = rows(c.getMetaData().getPrimaryKeys(null, Main.schema, "customers"), "TABLE_NAME", "COLUMN_NAME", "KEY_SEQ");
            Main.equal(List.of(List.of("customers", "id", "1")), found);
            Main.equal(List.of(), rows(c.getMetaData().getPrimaryKeys(null, Main.schema, "orders"), "COLUMN_NAME"));
        });
        Main.step("getImportedKeys, getExportedKeys, getCrossReference", c -> {
            DatabaseMetaData meta = c.getMetaData();
            Main.equal(List.of(), rows(meta.getImportedKeys(null, Main.schema, "orders"), "FK_NAME"));
            Main.execute(c, "alter table " + Main.schema + ".orders add foreign key (customer_id) references " + Main.schema + ".customers on delete cascade");
            String[] columns = {"PKTABLE_NAME", "PKCOLUMN_NAME", "FKTABLE_NAME", "FKCOLUMN_NAME", "KEY_SEQ", "UPDATE_RULE", "DELETE_RULE", "FK_NAME", "PK_NAME"};
            List<List<String>> key = List.of(List.of("customers", "id", "orders", "customer_id", "1", "3", "0", "orders_customer_id_fkey", "customers_pkey"));
            Main.equal(key, rows(meta.getImportedKeys(null, Main.schema, "orders"), columns));
            Main.equal(key, rows(meta.getExportedKeys(null, Main.schema, "customers"), columns));
            Main.equal(key, rows(meta.getCrossReference(null, Main.schema, "customers", null, Main.schema, "orders"), columns));
            Main.execute(c, "alter table " + Main.schema + ".orders drop constraint orders_customer_id_fkey");
        });
        Main.step("getIndexInfo", c -> {
            List<List<String>> found = rows(c.getMetaData().getIndexInfo(null, Main.schema, "customers", false, true), "COLUMN_NAME", "NON_UNIQUE", "ORDINAL_POSITION");
            Main.equal(List.of(List.of("id", "f", "1")), found);
            Main.equal(List.of(), rows(c.getMetaData().getIndexInfo(null, Main.schema, "orders", false, true), "COLUMN_NAME"));
        });
        Main.step("getSchemas, getCatalogs, getTableTypes", c -> {
            DatabaseMetaData meta = c.getMetaData();
            Set<String> schemas = new HashSet<>();
            for (List<String> row : rows(meta.getSchemas(), "TABLE_SCHEM")) schemas.add(row.get(0));
            Main.check(schemas.containsAll(Set.of(Main.schema, "public", "information_schema", "pg_catalog")), schemas.toString());
            Main.equal(List.of(List.of(Main.schema)), rows(meta.getSchemas(null, Main.schema), "TABLE_SCHEM"));
            Main.check(rows(meta.getCatalogs(), "TABLE_CAT").contains(List.of(c.getCatalog())), "catalogs");
            Main.check(rows(meta.getTableTypes(), "TABLE_TYPE").contains(List.of("TABLE")), "table types");
            c.setSchema(Main.schema);
            Main.equal(Main.schema, c.getSchema());
        });
        Main.step("getTypeInfo", c -> {
            Set<String> names = new HashSet<>();
            for (List<String> row : rows(c.getMetaData().getTypeInfo(), "TYPE_NAME", "DATA_TYPE")) names.add(row.get(0) + " " + row.get(1));
            Main.check(names.containsAll(Set.of("int4 4", "int8 -5", "text 12", "numeric 2", "bool -7", "timestamptz 93", "_int4 2003", "float8 8", "bytea -2")), names.toString());
        });
        Main.step("getProcedures, getFunctions", c -> {
            DatabaseMetaData meta = c.getMetaData();
            Main.equal(List.of(), rows(meta.getProcedures(null, Main.schema, "%"), "PROCEDURE_NAME"));
            Main.equal(List.of(), rows(meta.getFunctions(null, Main.schema, "%"), "FUNCTION_NAME"));
            Main.check(!rows(meta.getFunctions(null, "pg_catalog", "date_trunc"), "FUNCTION_NAME").isEmpty(), "date_trunc");
            Main.check(!rows(meta.getFunctionColumns(null, "pg_catalog", "upper", "%"), "COLUMN_NAME").isEmpty(), "arguments of upper");
            Main.equal(List.of(), rows(meta.getProcedureColumns(null, Main.schema, "%", "%"), "COLUMN_NAME"));
        });
        Main.step("getTablePrivileges, getColumnPrivileges, getBestRowIdentifier, getVersionColumns, getUDTs, getClientInfoProperties", c -> {
            DatabaseMetaData meta = c.getMetaData();
            meta.getTablePrivileges(null, Main.schema, "%").close();
            meta.getColumnPrivileges(null, Main.schema, "customers", "%").close();
            Main.equal(List.of(List.of("id")), rows(meta.getBestRowIdentifier(null, Main.schema, "customers", DatabaseMetaData.bestRowSession, true), "COLUMN_NAME"));
            rows(meta.getVersionColumns(null, Main.schema, "customers"), "COLUMN_NAME");
            rows(meta.getUDTs(null, Main.schema, "%", null), "TYPE_NAME");
            Main.check(!rows(meta.getClientInfoProperties(), "NAME").isEmpty(), "client info");
        });
        Main.step("versions, limits and keywords", c -> {
            DatabaseMetaData meta = c.getMetaData();
            Main.equal("PostgreSQL", meta.getDatabaseProductName());
            Main.check(meta.getDatabaseMajorVersion() >= 15, "major version " + meta.getDatabaseMajorVersion());
            Main.check(meta.getDatabaseProductVersion().startsWith(String.valueOf(meta.getDatabaseMajorVersion())), meta.getDatabaseProductVersion());
            Main.equal(63, meta.getMaxColumnNameLength());
            Main.equal(32, meta.getMaxColumnsInIndex());
            Main.equal("\"", meta.getIdentifierQuoteString());
            Main.equal(Main.user, meta.getUserName());
            Main.check(meta.getSQLKeywords().length() > 100 && meta.getNumericFunctions().contains("abs"), "keywords");
            Main.check(meta.supportsTransactions() && !meta.isReadOnly() && c.isValid(5), "transactions");
            Main.equal(Connection.TRANSACTION_READ_COMMITTED, c.getTransactionIsolation());
        });
        Main.step("ResultSetMetaData with table and column names", c -> {
            try (var statement = c.createStatement();
                 var result = statement.executeQuery("select id, name as n, balance, 1 + 1 as two from " + Main.schema + ".customers where false")) {
                ResultSetMetaData meta = result.getMetaData();
                Main.equal(4, meta.getColumnCount());
                Main.equal(Types.BIGINT, meta.getColumnType(1));
                Main.equal("n", meta.getColumnLabel(2));
                Main.equal(12, meta.getPrecision(3));
                Main.equal(2, meta.getScale(3));
                Main.equal("java.math.BigDecimal", meta.getColumnClassName(3));
                Main.equal("java.lang.String", meta.getColumnClassName(2));
            }
        });
        Main.step("ResultSetMetaData.getTableName, isNullable", c -> {
            try (var statement = c.createStatement(); var result = statement.executeQuery("select id, name as n from " + Main.schema + ".customers")) {
                var meta = (org.postgresql.PGResultSetMetaData) result.getMetaData();
                Main.equal("customers", meta.getBaseTableName(1));
                Main.equal("name", meta.getBaseColumnName(2));
                Main.equal(ResultSetMetaData.columnNoNulls, result.getMetaData().isNullable(1));
            }
        });
        Main.step("Metabase's queries for privileges, fields and indexes", c -> {
            try (var statement = c.createStatement()) {
                statement.executeQuery("with table_privileges as (select NULL as role, t.schemaname as schema, t.objectname as table, "
                    + "pg_catalog.has_any_column_privilege(current_user, '\"' || replace(t.schemaname, '\"', '\"\"') || '\"' || '.' || '\"' || replace(t.objectname, '\"', '\"\"') || '\"', 'update') as update, "
                    + "pg_catalog.has_table_privilege(current_user, '\"' || replace(t.schemaname, '\"', '\"\"') || '\"' || '.' || '\"' || replace(t.objectname, '\"', '\"\"') || '\"', 'delete') as delete "
                    + "from (select schemaname, tablename as objectname from pg_catalog.pg_tables union select schemaname, viewname from pg_catalog.pg_views) t "
                    + "where t.schemaname !~ '^pg_' and t.schemaname <> 'information_schema' "
                    + "and pg_catalog.has_schema_privilege(current_user, t.schemaname, 'usage')) select t.* from table_privileges t").close();
                try (var result = statement.executeQuery("SELECT c.column_name AS name, c.udt_name AS \"database-type\", c.ordinal_position - 1 AS \"database-position\", "
                    + "c.table_schema AS \"table-schema\", c.table_name AS \"table-name\", pk.column_name IS NOT NULL AS \"pk?\", "
                    + "COL_DESCRIPTION(CAST(CAST(format('%I.%I', CAST(c.table_schema AS TEXT), CAST(c.table_name AS TEXT)) AS REGCLASS) AS OID), c.ordinal_position) AS \"field-comment\", "
                    + "((column_default IS NULL) OR (LOWER(column_default) = 'null')) AND (is_nullable = 'NO') AND NOT (((column_default IS NOT NULL) AND (column_default LIKE '%nextval(%')) OR (is_identity <> 'NO')) AS \"database-required\" "
                    + "FROM information_schema.columns AS c LEFT JOIN (SELECT tc.table_schema, tc.table_name, kc.column_name FROM information_schema.table_constraints AS tc "
                    + "INNER JOIN information_schema.key_column_usage AS kc ON (tc.constraint_name = kc.constraint_name) AND (tc.table_schema = kc.table_schema) AND (tc.table_name = kc.table_name) "
                    + "WHERE tc.constraint_type = 'PRIMARY KEY') AS pk ON (c.table_schema = pk.table_schema) AND (c.table_name = pk.table_name) AND (c.column_name = pk.column_name) "
                    + "WHERE c.table_schema !~ '^information_schema|catalog_history|pg_' AND (c.table_schema IN ('" + Main.schema + "')) AND c.table_name = 'customers' "
                    + "ORDER BY \"table-schema\", \"table-name\", \"database-position\"")) {
                    List<List<String>> found = rows(result, "name", "database-type", "pk?", "field-comment");
                    Main.equal(13, found.size());
                    Main.equal(Arrays.asList("id", "int8", "t", null), found.get(0));
                    Main.equal(Arrays.asList("name", "text", "f", "as written"), found.get(1));
                }
                statement.executeQuery("SELECT tmp.\"table-schema\", tmp.\"table-name\", TRIM(BOTH '\"' FROM PG_CATALOG.PG_GET_INDEXDEF(tmp.ci_oid, tmp.pos, FALSE)) AS \"field-name\" "
                    + "FROM (SELECT n.nspname AS \"table-schema\", ct.relname AS \"table-name\", ci.oid AS ci_oid, (INFORMATION_SCHEMA._PG_EXPANDARRAY(i.indkey)).n AS pos "
                    + "FROM pg_catalog.pg_class AS ct INNER JOIN pg_catalog.pg_namespace AS n ON ct.relnamespace = n.oid INNER JOIN pg_catalog.pg_index AS i ON ct.oid = i.indrelid "
                    + "INNER JOIN pg_catalog.pg_class AS ci ON ci.oid = i.indexrelid WHERE (PG_CATALOG.PG_GET_EXPR(i.indpred, i.indrelid) IS NULL) AND n.nspname !~ '^information_schema|catalog_history|pg_') AS tmp WHERE tmp.pos = 1").close();
            }
        });
    }
}
