"""The model of the crash tests against DuckDB, so that the judge is judged too."""

import duckdb

from ledger import COLUMNS, Ledger, tuples


def test_the_model_is_what_duckdb_makes_of_it():
    connection = duckdb.connect()
    connection.execute("create table t (id bigint not null, part int, v bigint)")
    ledger = Ledger("t", 7)
    for _ in range(150):
        sql, after = ledger.next()
        if sql.startswith("insert overwrite"):
            query = sql.removeprefix("insert overwrite table t ")
            connection.execute(f"delete from t where part in (select part from ({query}))")
            sql = f"insert into t {query}"
        connection.execute(sql)
        ledger.rows = after
        assert sorted(connection.execute(f"select {', '.join(COLUMNS)} from t").fetchall()) == sorted(tuples(after)), sql
