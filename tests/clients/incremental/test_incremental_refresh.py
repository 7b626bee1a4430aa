"""Incremental refreshes beside other programs: what these read of them, and what they do to the tables below."""

import decimal
import pathlib
import sys

import deltalake
import psycopg
import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "fixtures"))

import iceberg_by_hand  # noqa: E402

FORMATS = ["iceberg", "delta"]
GROUPS = "select country, count(*) as n, sum(amount) as total from {schema}.facts group by country"


class Gold:
    """A view over a table of facts."""

    def __init__(self, server, schema: str, form: str, query: str = GROUPS, options: str = "", clauses: str = ""):
        self.server, self.schema, self.form = server, schema, form
        server.sql(f"create table {schema}.facts (id int, country text, amount numeric(10,2)) using {form}")
        self.insert("(1, 'a', 1), (2, 'a', 2), (3, 'b', 3), (4, null, 4)")
        self.define(query, options, clauses)

    def define(self, query: str, options: str = "", clauses: str = ""):
        text = query.format(schema=self.schema)
        self.server.sql(f"create or replace materialized view {self.schema}.gold {clauses} using {self.form} {options} as {text}")

    def insert(self, values: str):
        self.server.sql(f"insert into {self.schema}.facts values {values}")

    def refresh(self, full: str = "") -> tuple[str, str]:
        """Mode and reason."""
        self.server.sql(f"refresh materialized view {self.schema}.gold {full}")
        return self.last()

    def last(self) -> tuple[str, str]:
        return self.server.sql("select mode, reason from auric.refreshes where schema_name = %s and view_name = 'gold' and status = 'succeeded' "
                               "order by published_at desc, version desc limit 1", (self.schema,))[0]

    def rows(self) -> list:
        return sorted(self.server.sql(f"select * from {self.schema}.gold"), key=repr)

    def root(self, name: str) -> str:
        return str(self.server.warehouse / self.schema / name)

    def outside(self, duck, name: str = "gold") -> list:
        """As DuckDB reads the table."""
        if self.form == "iceberg":
            table = self.server.pyiceberg().load_table((self.schema, name))
            scan = f"iceberg_scan('{table.metadata_location}')"
        else:
            scan = f"delta_scan('{self.root(name)}')"
        return sorted(duck.execute(f"select * from {scan}").fetchall(), key=repr)


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("merge_on_read", [False, True])
def test_others_read_what_was_merged_and_replaced(server, schema, duck, form, merge_on_read):
    if form == "iceberg":
        mode = "merge-on-read" if merge_on_read else "copy-on-write"
        options = f"tblproperties ('write.merge.mode' = '{mode}')"
    else:
        options = f"tblproperties ('delta.enableDeletionVectors' = '{str(merge_on_read).lower()}')"
    gold = Gold(server, schema, form, options=options)
    gold.insert("(5, 'a', 10), (6, 'c', 6), (7, null, 1)")
    assert gold.refresh()[0] == "merge"
    expected = [("a", 3, decimal.Decimal(13)), ("b", 1, decimal.Decimal(3)), ("c", 1, decimal.Decimal(6)), (None, 2, decimal.Decimal(5))]
    assert gold.outside(duck) == gold.rows() == sorted(expected, key=repr)
    server.sql(f"update {schema}.facts set country = 'c' where id in (2, 3)")
    server.sql(f"delete from {schema}.facts where country is null")
    mode, reason = gold.refresh()
    assert mode == "groups" and "4 of its groups" in reason
    assert gold.outside(duck) == gold.rows() == [("a", 2, decimal.Decimal(11)), ("c", 3, decimal.Decimal(11))]
    # Nothing has happened since.
    with server.connect() as connection:
        told = []
        connection.add_notice_handler(lambda notice: told.append(notice.message_primary))
        connection.execute(f"refresh materialized view {schema}.gold")
    assert told == [f'materialized view "{schema}.gold" is up to date']


def test_a_compaction_is_no_change(server, schema):
    gold = Gold(server, schema, "delta")
    gold.insert("(5, 'a', 5)")
    table = deltalake.DeltaTable(gold.root("facts"))
    assert table.optimize.compact()["numFilesRemoved"] == 2
    gold.insert("(6, 'b', 6)")
    assert gold.refresh()[0] == "merge"
    assert ("a", 3, decimal.Decimal(8)) in gold.rows() and ("b", 2, decimal.Decimal(9)) in gold.rows()
    table = deltalake.DeltaTable(gold.root("facts"))
    assert table.optimize.compact()["numFilesRemoved"] == 2
    assert gold.refresh()[0] == "nothing"


def test_an_iceberg_compaction_is_no_change(server, schema, monkeypatch):
    """pyiceberg has no compaction: its overwrite is told to call itself one (Iceberg spec, "Snapshots")."""
    from pyiceberg.table import snapshots
    from pyiceberg.table.snapshots import Operation
    from pyiceberg.table.update import snapshot as update

    gold = Gold(server, schema, "iceberg")
    gold.insert("(5, 'a', 5)")
    table = server.pyiceberg().load_table((schema, "facts"))
    rows = table.scan().to_arrow()
    allowed = snapshots.update_snapshot_summaries
    as_overwrite = lambda summary, *rest, **options: allowed(summary, *rest, **options)

    def commit_as_replace(summary, *rest, **options):
        if summary.operation != Operation.OVERWRITE:
            return as_overwrite(summary, *rest, **options)
        return as_overwrite(summary, *rest, **options).model_copy(update={"operation": Operation.REPLACE})

    monkeypatch.setattr(update, "update_snapshot_summaries", commit_as_replace)
    with table.transaction() as transaction, transaction.update_snapshot().overwrite() as overwrite:
        from pyiceberg.io.pyarrow import _dataframe_to_data_files

        for task in table.scan().plan_files():
            overwrite.delete_data_file(task.file)
        for file in _dataframe_to_data_files(transaction.table_metadata, rows, table.io, overwrite.commit_uuid):
            overwrite.append_data_file(file)
    monkeypatch.undo()
    assert server.pyiceberg().load_table((schema, "facts")).current_snapshot().summary.operation == Operation.REPLACE
    gold.insert("(6, 'b', 6)")
    mode, reason = gold.refresh()
    assert mode == "merge", reason
    assert ("a", 3, decimal.Decimal(8)) in gold.rows() and ("b", 2, decimal.Decimal(9)) in gold.rows()


def strict(gold: Gold) -> psycopg.Error:
    gold.server.sql(f"alter materialized view {gold.schema}.gold set refresh policy incremental strict")
    with pytest.raises(psycopg.Error) as refused:
        gold.refresh()
    return refused.value


@pytest.mark.parametrize("partitioned", [False, True])
def test_equality_deletes_of_another_engine(server, schema, tmp_path, partitioned):
    """Files of deletes by value, as Flink writes them: the rows that they take away are gone from their groups."""
    base = iceberg_by_hand.HandMadeTable(tmp_path / "t", partitioned=partitioned)
    rows = [(i, f"n{i % 3}", "a") for i in range(12)]
    base.commit([base.write_rows(rows[:6])])
    location = base.commit([base.write_rows(rows[6:])])
    catalog = server.pyiceberg()
    catalog.register_table((schema, "facts"), location)
    server.sql(f"create materialized view {schema}.gold refresh policy incremental strict as "
               f"select name, count(*) as n, sum(id) as total from {schema}.facts group by name")

    def commit(*arguments, **options) -> str:
        location = base.commit(*arguments, **options)
        catalog.drop_table((schema, "facts"))
        catalog.register_table((schema, "facts"), location)
        server.sql(f"refresh materialized view {schema}.gold")
        found = server.sql(f"select name, n, total from {schema}.gold order by name")
        assert found == server.sql(f"select name, count(*), sum(id) from {schema}.facts group by name order by name")
        asked = "select mode from auric.refreshes where schema_name = %s order by published_at desc limit 1"
        return found, server.sql(asked, (schema,))[0][0]

    # Of both files; then one that takes away what was there before, and a row of its own commit stays.
    deletes = base.write_equality_deletes([1], [(4,), (7,), (99,)], "a")
    assert commit(deletes=[deletes]) == ([("n0", 4, 18), ("n1", 2, 11), ("n2", 4, 26)], "groups")
    again = base.write_equality_deletes([2], [("n2",), (None,)], "a")
    assert commit([base.write_rows([(100, "n2", "a"), (101, None, "a")])], deletes=[again]) == (
        [("n0", 4, 18), ("n1", 2, 11), ("n2", 1, 100), (None, 1, 101)], "groups")
    nothing = base.write_equality_deletes([1], [(5000,)], "a")
    assert commit(deletes=[nothing])[1] == "nothing"


def test_an_expired_snapshot_is_told(server, schema):
    gold = Gold(server, schema, "iceberg")
    table = server.pyiceberg().load_table((schema, "facts"))
    old = table.current_snapshot().snapshot_id
    gold.insert("(5, 'a', 5)")
    table = server.pyiceberg().load_table((schema, "facts"))
    table.maintenance.expire_snapshots().by_id(old).commit()
    refused = strict(gold)
    assert refused.sqlstate == "55000" and f"version {old} of {schema}.facts has expired" in refused.diag.message_detail
    server.sql(f"alter materialized view {schema}.gold set refresh policy incremental")
    with server.connect() as connection:
        told = []
        connection.add_notice_handler(lambda notice: told.append((notice.sqlstate, notice.message_primary)))
        connection.execute(f"refresh materialized view {schema}.gold")
    assert [state for state, _ in told] == ["01000"] and "has expired" in told[0][1]
    mode, reason = gold.last()
    assert mode == "full" and f"full because version {old} of {schema}.facts has expired" in reason
    assert ("a", 3, decimal.Decimal(8)) in gold.rows()
    gold.insert("(6, 'b', 6)")
    assert gold.refresh()[0] == "merge"


def test_files_that_are_gone_are_told(server, schema):
    gold = Gold(server, schema, "delta", options="refresh policy incremental")
    server.sql(f"delete from {schema}.facts where id = 1")
    live = {pathlib.Path(path).name for path in deltalake.DeltaTable(gold.root("facts")).file_uris()}
    dead = [path for path in pathlib.Path(gold.root("facts")).rglob("*.parquet") if path.name not in live and "_delta_log" not in str(path)]
    if not dead:
        # Marked, not rewritten.
        server.sql(f"insert overwrite {schema}.facts select * from {schema}.facts")
        dead = [path for path in pathlib.Path(gold.root("facts")).rglob("*.parquet")]
        live = {pathlib.Path(path).name for path in deltalake.DeltaTable(gold.root("facts")).file_uris()}
        dead = [path for path in dead if path.name not in live]
    assert dead
    for path in dead:
        path.unlink()
    mode, reason = gold.refresh()
    assert mode == "full" and reason.endswith("is gone")
    assert ("a", 1, decimal.Decimal(2)) in gold.rows()


@pytest.mark.parametrize("form", FORMATS)
def test_refused_rows_stay_refused(server, schema, form):
    clauses = f"""(constraint low expect (total < 100) on violation drop row,
        constraint many expect (n < 4) on violation quarantine into {schema}.bad, constraint filled expect (count(*) > 0) on violation fail update)"""
    gold = Gold(server, schema, form, clauses=clauses, options="refresh policy incremental")
    gold.insert("(5, 'c', 200), (6, 'b', 1)")
    mode, reason = gold.refresh()
    # What is left out of the view cannot be added to.
    assert mode == "groups", reason
    assert [row[0] for row in gold.rows()] == ["a", "b", None]
    gold.insert("(7, 'c', -150), (8, 'a', 1), (9, 'a', 1)")
    assert gold.refresh()[0] == "groups"
    assert gold.rows() == [("b", 2, decimal.Decimal(4)), ("c", 2, decimal.Decimal(50)), (None, 1, decimal.Decimal(4))]
    assert server.sql(f"select country, n, _reason from {schema}.bad") == [("a", 4, "many")]
    incremental = gold.rows()
    assert gold.refresh("full")[0] == "full"
    assert gold.rows() == incremental
    # The whole result is asked about all of it.
    server.sql(f"delete from {schema}.facts")
    with pytest.raises(psycopg.errors.CheckViolation):
        gold.refresh()
    assert gold.rows() == incremental


def test_what_only_looks_the_same_is_computed_anew(server, schema):
    """Others wrote into the view, its definition changed, a view below means something else, a table is another one."""
    gold = Gold(server, schema, "iceberg")
    gold.insert("(5, 'a', 5)")
    server.pyiceberg().load_table((schema, "gold")).delete("country = 'b'")
    mode, reason = gold.refresh()
    assert mode == "full" and "changed by others" in reason
    assert len(gold.rows()) == 3
    server.sql(f"create view {schema}.v as select * from {schema}.facts where id > 1")
    gold.define(GROUPS.replace("facts", "v"))
    gold.insert("(6, 'a', 6)")
    assert gold.refresh()[0] == "merge"
    server.sql(f"create or replace view {schema}.v as select * from {schema}.facts where id > 2")
    gold.insert("(7, 'b', 7)")
    mode, reason = gold.refresh()
    assert mode == "full" and "what its query means has changed" in reason
    assert gold.rows() == sorted(server.sql(GROUPS.replace("facts", "v").format(schema=schema)), key=repr)
    server.sql(f"create or replace table {schema}.facts (id int, country text, amount numeric(10,2))")
    gold.insert("(1, 'q', 1), (9, 'q', 2)")
    gold.refresh()
    assert gold.rows() == [("q", 1, decimal.Decimal(2))]


def test_strict_is_refused_where_it_never_can_be(server, schema):
    gold = Gold(server, schema, "iceberg")
    for query in ("select id from {s}.facts order by id limit 3", "select count(distinct id) as n from {s}.facts",
                  "select country, now() as t from {s}.facts", "select country, sum(amount) as t from {s}.facts group by rollup (country)"):
        with pytest.raises(psycopg.Error) as refused:
            server.sql(f"create materialized view {schema}.never refresh policy incremental strict as " + query.format(s=schema))
        assert refused.value.sqlstate == "0A000" and "All of its rows would have to be computed" in refused.value.diag.message_detail
        lines = [line for (line,) in server.sql(f"explain create materialized view {schema}.never as " + query.format(s=schema))]
        assert lines[1] == "Refresh: FULL" and lines[3].startswith("  Not incremental: ")
    server.sql(f"create materialized view {schema}.ever refresh policy incremental strict as select id from {schema}.facts")
    gold.insert("(5, 'a', 5)")
    server.sql(f"refresh materialized view {schema}.ever")
    assert server.sql(f"select count(*) from {schema}.ever") == [(5,)]


def test_a_refresh_in_a_block(server, schema):
    gold = Gold(server, schema, "iceberg")
    gold.insert("(5, 'a', 5)")
    with server.connect(autocommit=False) as connection:
        connection.execute(f"refresh materialized view {schema}.gold")
        connection.execute(f"insert into {schema}.facts values (6, 'b', 6)")
        connection.execute(f"refresh materialized view {schema}.gold")
        assert connection.execute(f"select n from {schema}.gold where country = 'b'").fetchall() == [(2,)]
        connection.commit()
    assert gold.rows() == sorted(server.sql(GROUPS.format(schema=schema)), key=repr)
    gold.insert("(7, 'b', 7)")
    gold.refresh()
    assert gold.rows() == sorted(server.sql(GROUPS.format(schema=schema)), key=repr)


def test_views_over_views(server, schema):
    gold = Gold(server, schema, "delta")
    server.sql(f"create materialized view {schema}.top as select n, count(*) as countries from {schema}.gold group by n")
    gold.insert("(5, 'b', 5)")
    server.sql(f"refresh materialized view {schema}.top cascade")
    assert sorted(server.sql(f"select * from {schema}.top")) == [(1, 1), (2, 2)]
    modes = server.sql("select view_name, mode from auric.refreshes where schema_name = %s order by view_name, published_at", (schema,))
    assert modes == [("gold", "full"), ("gold", "merge"), ("top", "full"), ("top", "groups")]


@pytest.mark.parametrize("join", ["", "left", "right", "full"])
def test_a_changed_dimension_touches_its_groups_only(server, schema, join):
    gold = Gold(server, schema, "iceberg", query="select id from {schema}.facts")
    server.sql(f"create table {schema}.dims (country text, region text)")
    server.sql(f"insert into {schema}.dims values ('a', 'x'), ('b', 'y'), ('d', 'v'), ('e', 'w')")
    query = f"select d.region, count(f.id) as n, count(distinct f.id) as ids from {{schema}}.facts f {join} join {{schema}}.dims d on d.country = f.country group by d.region"
    gold.define(query)
    server.sql(f"update {schema}.dims set region = 'z' where country = 'b'")
    mode, reason = gold.refresh()
    assert mode == "groups" and "2 of its groups" in reason, reason
    assert gold.rows() == sorted(server.sql(query.format(schema=schema)), key=repr)
    gold.insert("(8, 'a', 1)")
    mode, reason = gold.refresh()
    assert mode == "groups" and "one of its groups" in reason, reason
    assert gold.rows() == sorted(server.sql(query.format(schema=schema)), key=repr)
    # Its only row has no partner any more, and another one has its first.
    server.sql(f"update {schema}.facts set country = 'd' where id = 3")
    gold.refresh()
    assert gold.rows() == sorted(server.sql(query.format(schema=schema)), key=repr)


KEYS = {"smallint": "1::smallint, 2::smallint, 3::smallint", "bigint": "1, 2, 3", "numeric(8,3)": "1.5, 2.5, 3.5",
        "boolean": "true, false, null", "timestamp": "'2024-01-01 00:00:01.5', '2024-01-02', '1969-12-31 23:59:59.999999'",
        "timestamptz": "'2024-01-01 00:00:01.5+00', '2024-01-02', '1970-01-01'", "time": "'10:00', '11:00', '12:00:00.5'",
        "varchar(5)": "'a', 'b', 'c'", "char(5)": "'a', 'b', 'c'", "uuid": ", ".join(f"'{n}0000000-0000-0000-0000-000000000000'" for n in "abc")}


@pytest.mark.parametrize("kind", KEYS)
@pytest.mark.parametrize("form", FORMATS)
def test_keys_of_all_types(server, schema, form, kind):
    if form == "delta" and kind == "uuid":
        pytest.skip("Delta tables have no uuid")
    if form == "delta" and kind == "time":
        pytest.skip("Delta tables have no time")
    keys = KEYS[kind].split(", ")
    server.sql(f"create table {schema}.t (k {kind}, v int) using {form}")
    server.sql(f"insert into {schema}.t values " + ", ".join(f"({key}, {n})" for n, key in enumerate(keys)))
    server.sql(f"create materialized view {schema}.g using {form} refresh policy incremental strict as "
               f"select k, count(distinct v) as vs, min(v) as v from {schema}.t group by k")
    query = f"select k, count(distinct v) as vs, min(v) as v from {schema}.t group by k"
    for change in (f"insert into {schema}.t values ({keys[0]}, 9), ({keys[2]}, 4)", f"delete from {schema}.t where v = 1",
                   f"update {schema}.t set k = {keys[1]} where v = 9"):
        server.sql(change)
        server.sql(f"refresh materialized view {schema}.g")
        by_text = lambda rows: sorted(rows, key=repr)
        assert by_text(server.sql(f"select * from {schema}.g")) == by_text(server.sql(query)), change
