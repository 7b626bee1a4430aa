"""What clients ask the system catalogs, beside a real PostgreSQL with the same 2,000 tables of 50 columns, in turns."""

import argparse
import pathlib
import shutil
import statistics
import time

import psycopg
import sqlalchemy as sa

from tpch import Auric
from wire import Postgres

TYPES = ("bigint", "int", "text", "numeric(18,2)", "timestamp", "date", "double precision", "boolean", "timestamptz", "text[]")

# psql 15's `\d`, and `\d name`'s question for the columns.
PSQL_D = """SELECT n.nspname as "Schema", c.relname as "Name",
  CASE c.relkind WHEN 'r' THEN 'table' WHEN 'v' THEN 'view' WHEN 'm' THEN 'materialized view' WHEN 'i' THEN 'index' WHEN 'S' THEN 'sequence' WHEN 't' THEN 'TOAST table' WHEN 'f' THEN 'foreign table' WHEN 'p' THEN 'partitioned table' WHEN 'I' THEN 'partitioned index' END as "Type",
  pg_catalog.pg_get_userbyid(c.relowner) as "Owner"
FROM pg_catalog.pg_class c
     LEFT JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
     LEFT JOIN pg_catalog.pg_am am ON am.oid = c.relam
WHERE c.relkind IN ('r','p','v','m','S','f','')
      AND n.nspname <> 'pg_catalog'
      AND n.nspname !~ '^pg_toast'
      AND n.nspname <> 'information_schema'
  AND pg_catalog.pg_table_is_visible(c.oid)
ORDER BY 1,2"""
PSQL_D_TABLE = """SELECT a.attname, pg_catalog.format_type(a.atttypid, a.atttypmod),
  (SELECT pg_catalog.pg_get_expr(d.adbin, d.adrelid, true) FROM pg_catalog.pg_attrdef d
   WHERE d.adrelid = a.attrelid AND d.adnum = a.attnum AND a.atthasdef),
  a.attnotnull,
  (SELECT c.collname FROM pg_catalog.pg_collation c, pg_catalog.pg_type t
   WHERE c.oid = a.attcollation AND t.oid = a.atttypid AND a.attcollation <> t.typcollation) AS attcollation,
  a.attidentity, a.attgenerated
FROM pg_catalog.pg_attribute a
WHERE a.attrelid = 'wide.t_1000'::regclass AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY a.attnum"""
# pgjdbc 42's DatabaseMetaData.getColumns(null, 'wide', TABLE, '%').
JDBC_COLUMNS = """SELECT * FROM (SELECT n.nspname,c.relname,a.attname,a.atttypid,a.attnotnull OR (t.typtype = 'd' AND t.typnotnull) AS attnotnull,a.atttypmod,a.attlen,t.typtypmod,
row_number() OVER (PARTITION BY a.attrelid ORDER BY a.attnum) AS attnum, nullif(a.attidentity, '') as attidentity,nullif(a.attgenerated, '') as attgenerated,
pg_catalog.pg_get_expr(def.adbin, def.adrelid) AS adsrc,dsc.description,t.typbasetype,t.typtype
FROM pg_catalog.pg_namespace n JOIN pg_catalog.pg_class c ON (c.relnamespace = n.oid)
 JOIN pg_catalog.pg_attribute a ON (a.attrelid=c.oid) JOIN pg_catalog.pg_type t ON (a.atttypid = t.oid)
 LEFT JOIN pg_catalog.pg_attrdef def ON (a.attrelid=def.adrelid AND a.attnum = def.adnum)
 LEFT JOIN pg_catalog.pg_description dsc ON (c.oid=dsc.objoid AND a.attnum = dsc.objsubid)
 LEFT JOIN pg_catalog.pg_class dc ON (dc.oid=dsc.classoid AND dc.relname='pg_class')
 LEFT JOIN pg_catalog.pg_namespace dn ON (dc.relnamespace=dn.oid AND dn.nspname='pg_catalog')
WHERE c.relkind in ('r','p','v','f','m') and a.attnum > 0 AND NOT a.attisdropped AND n.nspname LIKE 'wide' {table}) c WHERE true
ORDER BY nspname,c.relname,attnum"""


def fill(dsn: str, tables: int, columns: int) -> None:
    with psycopg.connect(dsn, autocommit=True) as connection:
        if connection.execute("select 1 from pg_namespace where nspname = 'wide'").fetchone():
            return
        connection.execute("create schema wide")
        declared = ", ".join(f"c_{n} {TYPES[n % len(TYPES)]}" for n in range(columns))
        for number in range(tables):
            connection.execute(f"create table wide.t_{number} ({declared})")


def by_sql(dsn: str, sql: str):
    connection = psycopg.connect(dsn, autocommit=True)
    connection.execute("set search_path to wide, public")
    return lambda: len(connection.execute(sql).fetchall())


def by_sqlalchemy(dsn: str, ask):
    found = psycopg.conninfo.conninfo_to_dict(dsn)
    engine = sa.create_engine(sa.URL.create("postgresql+psycopg", found["user"], None, found["host"], int(found["port"]), found["dbname"]))
    connection = engine.connect()

    def run():
        # Each inspector asks anew.
        count = len(ask(sa.inspect(connection)))
        connection.rollback()
        return count

    return run


QUESTIONS = {
    "psql \\d": lambda dsn: by_sql(dsn, PSQL_D),
    "psql \\d table": lambda dsn: by_sql(dsn, PSQL_D_TABLE),
    "SQLAlchemy get_table_names": lambda dsn: by_sqlalchemy(dsn, lambda inspector: inspector.get_table_names(schema="wide")),
    "SQLAlchemy get_columns": lambda dsn: by_sqlalchemy(dsn, lambda inspector: inspector.get_columns("t_1000", schema="wide")),
    "SQLAlchemy get_multi_columns": lambda dsn: by_sqlalchemy(dsn, lambda inspector: inspector.get_multi_columns(schema="wide")),
    "pgjdbc getColumns, one table": lambda dsn: by_sql(dsn, JDBC_COLUMNS.format(table="AND c.relname LIKE 't\\_1000'")),
    "pgjdbc getColumns, all tables": lambda dsn: by_sql(dsn, JDBC_COLUMNS.format(table="")),
}


def measure(servers: dict[str, str], runs: int) -> None:
    print(f"{'':32}" + "".join(f"{name:>16}" for name in servers) + "   ratio")
    for title, prepare in QUESTIONS.items():
        times, counts = {name: [] for name in servers}, {}
        asks = {name: prepare(dsn) for name, dsn in servers.items()}
        for number in range(runs + 1):
            for name, ask in asks.items():
                start = time.perf_counter()
                counts[name] = ask()
                # The first is to warm up.
                if number:
                    times[name].append((time.perf_counter() - start) * 1000)
        if len(set(counts.values())) != 1:
            raise SystemExit(f"{title}: the answers differ: {counts}")
        medians = {name: statistics.median(each) for name, each in times.items()}
        print(f"{title:32}" + "".join(f"{median:13.1f} ms" for median in medians.values()) + f"{medians['Auric'] / medians['PostgreSQL']:8.2f}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--bin", type=pathlib.Path, required=True, help="folder of the binaries")
    parser.add_argument("--cache", type=pathlib.Path, required=True)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--tables", type=int, default=2000)
    parser.add_argument("--columns", type=int, default=50)
    arguments, _ = parser.parse_known_args()
    data = arguments.cache / f"introspection-{arguments.tables}-{arguments.columns}"
    if not (data / "complete").exists():
        shutil.rmtree(data, ignore_errors=True)
    auric = Auric(arguments.bin / "auric", "serve", "--data-dir", str(data))
    postgres = Postgres()
    try:
        for dsn in (auric.dsn, postgres.dsn):
            fill(dsn, arguments.tables, arguments.columns)
        (data / "complete").touch()
        with psycopg.connect(postgres.dsn, autocommit=True) as connection:
            connection.execute("vacuum analyze")
        print(f"\n{arguments.tables} tables of {arguments.columns} columns, median of {arguments.runs}")
        measure({"PostgreSQL": postgres.dsn, "Auric": auric.dsn}, arguments.runs)
    finally:
        postgres.stop()
        auric.stop()


if __name__ == "__main__":
    main()
