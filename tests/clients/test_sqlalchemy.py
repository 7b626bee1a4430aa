"""Stock SQLAlchemy 2 over four drivers: inspection, reflection, Core, ORM; the same body for each."""

import datetime
import decimal
import uuid

import pytest
import sqlalchemy as sa
from sqlalchemy import orm
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.asyncio import create_async_engine

from client_matrix import Client

CLIENT = Client("SQLAlchemy", sa.__version__, "Every step over psycopg2, psycopg, asyncpg and pg8000.")
DRIVERS = ("psycopg2", "psycopg", "pg8000", "asyncpg")
UTC = datetime.timezone.utc


class Asynchronous:
    """SQLAlchemy's asyncpg dialect behind the interface of the others."""

    def __init__(self, url):

        self.engine = create_async_engine(url)

    def run(self, body):
        import asyncio

        async def main():
            try:
                async with self.engine.connect() as connection:
                    return await connection.run_sync(body)
            finally:
                await self.engine.dispose()

        return asyncio.run(main())


class Synchronous:
    def __init__(self, url):
        self.engine = sa.create_engine(url)

    def run(self, body):
        try:
            with self.engine.connect() as connection:
                return body(connection)
        finally:
            self.engine.dispose()


@pytest.fixture(params=DRIVERS)
def database(server, request):
    """Runs `body(connection)`."""
    url = sa.URL.create(f"postgresql+{request.param}", server.user, None, server.host, server.port, server.database)
    return (Asynchronous if request.param == "asyncpg" else Synchronous)(url)


@pytest.fixture(scope="module")
def shop(server):
    """A schema to be looked at."""
    server.sql("create schema sa_shop")
    server.sql("create table sa_shop.customers (id int primary key, name text not null, country varchar, since date, balance numeric(12,2), score double precision, "
               "vip boolean, tags text[], seen timestamptz, made timestamp, big bigint, small real, raw bytea)")
    server.sql("create table sa_shop.parts (a int not null, b text not null, c int, primary key (a, b))")
    server.sql("create view sa_shop.names as select id, name from sa_shop.customers where vip")
    server.sql("comment on table sa_shop.customers is 'Who buys'")
    server.sql("comment on column sa_shop.customers.name is 'As on the bill'")
    server.sql("comment on column sa_shop.customers.balance is null")
    return "sa_shop"


@CLIENT.step("connect", "an engine: version, isolation levels, pool")
def test_connect(database):
    def body(connection):
        assert connection.dialect.server_version_info[0] >= 15
        assert connection.scalar(sa.select(sa.literal(1))) == 1
        assert connection.dialect.default_schema_name == "public"
        assert connection.dialect.get_isolation_level(connection.connection.dbapi_connection) == "READ COMMITTED"

    database.run(body)


@CLIENT.step("introspection", "`inspect`: schemas, tables, views, temporary tables, `has_table`")
def test_names(database, shop):
    def body(connection):
        inspector = sa.inspect(connection)
        assert {"public", "information_schema", shop} <= set(inspector.get_schema_names())
        assert inspector.get_table_names(schema=shop) == ["customers", "parts"]
        assert inspector.get_view_names(schema=shop) == ["names"]
        assert inspector.get_materialized_view_names(schema=shop) == []
        assert inspector.get_temp_table_names() == []
        assert inspector.get_sequence_names(schema=shop) == []
        assert inspector.has_table("customers", schema=shop) and inspector.has_table("names", schema=shop) and not inspector.has_table("none", schema=shop)
        assert inspector.has_schema(shop) and not inspector.has_schema("none")
        assert "name" in inspector.get_view_definition("names", schema=shop)
        with pytest.raises(sa.exc.NoSuchTableError):
            inspector.get_columns("none", schema=shop)

    database.run(body)


def type_names(columns):
    return [(column["name"], str(column["type"].compile(dialect=postgresql.dialect())), column["nullable"]) for column in columns]


@CLIENT.step("introspection", "`inspect`: columns, keys, indexes, comments, of one table and of all")
def test_columns(database, shop):
    def body(connection):
        inspector = sa.inspect(connection)
        assert type_names(inspector.get_columns("customers", schema=shop)) == [
            ("id", "INTEGER", False), ("name", "TEXT", False), ("country", "VARCHAR" if postgres(connection) else "TEXT", True), ("since", "DATE", True), ("balance", "NUMERIC(12, 2)", True),
            ("score", "DOUBLE PRECISION", True), ("vip", "BOOLEAN", True), ("tags", "TEXT[]", True), ("seen", "TIMESTAMP WITH TIME ZONE", True),
            ("made", "TIMESTAMP WITHOUT TIME ZONE", True), ("big", "BIGINT", True), ("small", "REAL", True), ("raw", "BYTEA", True)]
        assert [column["comment"] for column in inspector.get_columns("customers", schema=shop)][:3] == [None, "As on the bill", None]
        assert [(column["name"], column["default"], column.get("autoincrement")) for column in inspector.get_columns("parts", schema=shop)][0] == ("a", None, False)
        assert inspector.get_pk_constraint("customers", schema=shop)["constrained_columns"] == ["id"]
        assert inspector.get_pk_constraint("parts", schema=shop) | {"comment": None, "dialect_options": {}} == {
            "constrained_columns": ["a", "b"], "name": "parts_pkey", "comment": None, "dialect_options": {}}
        assert (inspector.get_indexes("customers", schema=shop), inspector.get_foreign_keys("customers", schema=shop)) == ([], [])
        assert (inspector.get_unique_constraints("customers", schema=shop), inspector.get_check_constraints("customers", schema=shop)) == ([], [])
        assert inspector.get_table_comment("customers", schema=shop) == {"text": "Who buys"}
        assert inspector.get_table_comment("parts", schema=shop) == {"text": None}
        assert isinstance(inspector.get_table_options("customers", schema=shop), dict)
        many = inspector.get_multi_columns(schema=shop, kind=sa.engine.reflection.ObjectKind.ANY)
        assert {name for _, name in many} == {"customers", "names", "parts"} and len(many[(shop, "customers")]) == 13
        for ask in ("pk_constraint", "indexes", "foreign_keys", "unique_constraints", "check_constraints", "table_comment", "table_options"):
            assert {name for _, name in getattr(inspector, f"get_multi_{ask}")(schema=shop)} == {"customers", "parts"}
        assert (inspector.get_enums(schema="*"), inspector.get_foreign_table_names(schema=shop)) == ([], [])
        assert len(inspector.get_domains(schema="*")) == (5 if postgres(connection) else len(inspector.get_domains(schema="*")))

    database.run(body)


def postgres(connection) -> bool:
    """Is this a PostgreSQL, to see that the test asks for what is right?"""
    return "Auric" not in connection.scalar(sa.text("select version()"))


@CLIENT.step("introspection", "reflection: `Table(autoload_with=)`, `MetaData.reflect`, automap")
def test_reflection(database, shop):
    def body(connection):
        from sqlalchemy.ext.automap import automap_base

        table = sa.Table("customers", sa.MetaData(), schema=shop, autoload_with=connection)
        assert [column.name for column in table.primary_key] == ["id"] and table.comment == "Who buys"
        assert isinstance(table.c.tags.type, postgresql.ARRAY) and table.c.balance.type.scale == 2 and not table.c.name.nullable
        everything = sa.MetaData()
        everything.reflect(connection, schema=shop, views=True)
        assert set(everything.tables) == {f"{shop}.customers", f"{shop}.parts", f"{shop}.names"}
        base = automap_base(metadata=everything)
        base.prepare()
        assert {"customers", "parts"} <= set(base.classes.keys())

    database.run(body)


ROW = {"i": -5, "l": 2**40, "f": 1.25, "n": decimal.Decimal("123456789.25"), "t": "häß'\\", "b": b"\x00\xff", "day": datetime.date(1969, 12, 31), "made": datetime.datetime(1999, 12, 31, 23, 59, 59, 999999),
       "at": datetime.datetime(2038, 1, 19, 3, 14, 8, tzinfo=UTC), "clock": datetime.time(23, 59, 59), "yes": True, "tags": ["a,b", None, ""], "numbers": [1, 2], "u": uuid.UUID(int=7)}


@CLIENT.step("types", "every generic type through a table")
def test_types(database, schema):
    def body(connection):
        table = sa.Table(
            "t", sa.MetaData(), sa.Column("i", sa.Integer), sa.Column("l", sa.BigInteger), sa.Column("f", sa.Double), sa.Column("n", sa.Numeric(18, 2)), sa.Column("t", sa.Text),
            sa.Column("b", sa.LargeBinary), sa.Column("day", sa.Date), sa.Column("made", sa.DateTime), sa.Column("at", sa.DateTime(timezone=True)), sa.Column("clock", sa.Time),
            sa.Column("yes", sa.Boolean), sa.Column("tags", postgresql.ARRAY(sa.Text)), sa.Column("numbers", postgresql.ARRAY(sa.Integer)), sa.Column("u", sa.Uuid), schema=schema)
        table.create(connection)
        connection.commit()
        connection.execute(table.insert(), ROW)
        connection.execute(table.insert(), [dict.fromkeys(ROW, None), {**dict.fromkeys(ROW, None), "i": 1}])
        assert dict(connection.execute(table.select().where(table.c.i == -5)).mappings().one()) == ROW
        for name, value in ROW.items():
            if name not in ("tags", "numbers"):
                assert connection.scalar(sa.select(sa.func.count()).where(table.c[name] == value)) == 1, name
        assert connection.scalar(sa.select(sa.func.count()).where(table.c.numbers.contains([2]))) == 1
        assert connection.scalar(sa.select(sa.func.count()).where(table.c.i.in_([1, -5, 7]))) == 2
        connection.commit()

    database.run(body)


@CLIENT.step("queries", "Core: joins, subqueries, CTEs, windows, CASE, bound lists, LIMIT")
def test_core_queries(database, schema):
    def body(connection):
        metadata = sa.MetaData(schema=schema)
        people = sa.Table("people", metadata, sa.Column("id", sa.Integer, primary_key=True, autoincrement=False), sa.Column("name", sa.String))
        orders = sa.Table("orders", metadata, sa.Column("id", sa.Integer, primary_key=True, autoincrement=False), sa.Column("person", sa.Integer), sa.Column("amount", sa.Numeric(10, 2)))
        metadata.create_all(connection)
        metadata.create_all(connection)
        connection.commit()
        connection.execute(people.insert(), [{"id": n, "name": f"name {n}"} for n in range(1, 4)])
        connection.execute(orders.insert(), [{"id": n, "person": n % 3 + 1, "amount": decimal.Decimal(n)} for n in range(1, 10)])
        total = sa.func.sum(orders.c.amount).label("total")
        query = sa.select(people.c.name, total).join(orders, orders.c.person == people.c.id).group_by(people.c.name).having(total > 10).order_by(total.desc()).limit(2)
        assert connection.execute(query).all() == [("name 1", 18), ("name 3", 15)]
        best = sa.select(orders.c.person, sa.func.row_number().over(partition_by=orders.c.person, order_by=orders.c.amount.desc()).label("place"), orders.c.amount).cte("best")
        assert connection.execute(sa.select(best.c.amount).where(best.c.place == 1).order_by(best.c.amount)).scalars().all() == [7, 8, 9]
        # Literals: of parameters, PostgreSQL does not know either that those of GROUP BY are those of the select list.
        size = sa.case((orders.c.amount > sa.literal_column("5"), sa.literal_column("'much'")), else_=sa.literal_column("'little'"))
        assert connection.execute(sa.select(size, sa.func.count()).group_by(size).order_by(size)).all() == [("little", 5), ("much", 4)]
        assert connection.scalar(sa.select(sa.exists().where(people.c.name.ilike("NAME%")))) is True
        count = sa.select(sa.func.count()).where(orders.c.person == people.c.id).scalar_subquery()
        assert connection.execute(sa.select(people.c.id, count).order_by(people.c.id).offset(1).limit(1)).all() == [(2, 3)]
        assert connection.execute(sa.union_all(sa.select(people.c.id), sa.select(orders.c.id))).all().__len__() == 12
        assert connection.scalar(sa.select(sa.func.string_agg(people.c.name, sa.literal_column("','")))) is not None
        metadata.drop_all(connection)
        connection.commit()
        assert sa.inspect(connection).get_table_names(schema=schema) == []

    database.run(body)


@CLIENT.step("cursors", "`stream_results` with `yield_per`")
def test_stream_results(database):
    def body(connection):
        result = connection.execution_options(stream_results=True, yield_per=100).execute(sa.text("select g from generate_series(1, 1000) as s(g)"))
        assert sum(row[0] for row in result) == 500500

    database.run(body)


@CLIENT.step("transactions", "begin, nested, rollback, isolation levels")
def test_transactions(database, schema):
    def body(connection):
        table = sa.Table("t", sa.MetaData(), sa.Column("a", sa.Integer), schema=schema)
        table.create(connection)
        connection.commit()
        with connection.begin():
            connection.execute(table.insert(), {"a": 1})
            with connection.begin_nested() as nested:
                connection.execute(table.insert(), {"a": 2})
                nested.rollback()
            with connection.begin_nested():
                connection.execute(table.insert(), {"a": 3})
        with connection.begin() as outer:
            connection.execute(table.insert(), {"a": 4})
            outer.rollback()
        assert connection.execute(sa.select(table.c.a).order_by(table.c.a)).scalars().all() == [1, 3]
        connection.rollback()
        for level in ("SERIALIZABLE", "REPEATABLE READ", "READ COMMITTED", "AUTOCOMMIT"):
            connection = connection.execution_options(isolation_level=level)
            assert connection.scalar(sa.select(sa.func.count()).select_from(table)) == 2
            connection.rollback()

    database.run(body)


@CLIENT.step("changes", "Core: INSERT, UPDATE and DELETE with RETURNING; many rows; ON CONFLICT; from a query")
def test_core_changes(database, schema):
    def body(connection):
        table = sa.Table("t", sa.MetaData(), sa.Column("id", sa.Integer, primary_key=True, autoincrement=False), sa.Column("name", sa.Text), sa.Column("n", sa.Numeric(10, 2)), schema=schema)
        table.create(connection)
        connection.commit()
        found = connection.execute(table.insert().returning(table.c.id, table.c.name), [{"id": n, "name": f"n{n}", "n": decimal.Decimal(n) / 4} for n in range(1, 6)])
        assert sorted(found.all()) == [(n, f"n{n}") for n in range(1, 6)]
        assert connection.execute(table.update().where(table.c.id < 3).values(name=table.c.name + "!", n=table.c.n + 1).returning(table.c.id, table.c.n)).all().sort() is None
        assert connection.execute(table.update().where(table.c.id == sa.bindparam("b_id")).values(name=sa.bindparam("b_name")), [{"b_id": 4, "b_name": "x"}, {"b_id": 5, "b_name": "y"}]).rowcount in (2, -1)
        assert connection.execute(table.delete().where(table.c.id.in_([1, 4])).returning(table.c.id)).scalars().all().__len__() == 2
        insert = postgresql.insert(table)
        connection.execute(insert.on_conflict_do_update(index_elements=["id"], set_={"name": insert.excluded.name}), [{"id": 2, "name": "two"}, {"id": 6, "name": "six"}])
        connection.execute(postgresql.insert(table).values(id=2, name="never").on_conflict_do_nothing())
        connection.execute(table.insert().from_select(["id", "name"], sa.select(table.c.id + 100, table.c.name).where(table.c.id == 3)))
        connection.commit()
        assert connection.execute(sa.select(table.c.id, table.c.name).order_by(table.c.id)).all() == [(2, "two"), (3, "n3"), (5, "y"), (6, "six"), (103, "n3")]

    database.run(body)


class Base(orm.DeclarativeBase):
    pass


class Customer(Base):
    __tablename__ = "customers"
    id: orm.Mapped[uuid.UUID] = orm.mapped_column(primary_key=True, default=uuid.uuid4)
    name: orm.Mapped[str]
    balance: orm.Mapped[decimal.Decimal | None] = orm.mapped_column(sa.Numeric(12, 2))
    orders: orm.Mapped[list["Order"]] = orm.relationship(back_populates="customer", cascade="all, delete-orphan", primaryjoin="Customer.id == foreign(Order.customer_id)")


class Order(Base):
    __tablename__ = "orders"
    number: orm.Mapped[int] = orm.mapped_column(primary_key=True, autoincrement=False)
    customer_id: orm.Mapped[uuid.UUID]
    placed: orm.Mapped[datetime.datetime] = orm.mapped_column(sa.DateTime(timezone=True))
    customer: orm.Mapped[Customer] = orm.relationship(back_populates="orders", primaryjoin="Customer.id == foreign(Order.customer_id)")


@CLIENT.step("changes", "ORM: a session's inserts, updates and deletes, one table at a time; relationships")
def test_orm(database, schema):
    def body(connection):
        connection = connection.execution_options(schema_translate_map={None: schema})
        Base.metadata.create_all(connection)
        connection.commit()
        at = datetime.datetime(2024, 1, 2, tzinfo=UTC)
        with orm.Session(connection, expire_on_commit=True) as session:
            ann, bob = Customer(name="ann", balance=decimal.Decimal("1.50")), Customer(name="bob")
            session.add_all([ann, bob])
            session.commit()
            session.add_all([Order(number=n, customer=ann if n % 2 else bob, placed=at) for n in range(1, 6)])
            session.commit()
            assert [order.number for order in sorted(ann.orders, key=lambda order: order.number)] == [1, 3, 5]
            session.rollback()
            bob.name, ann.balance = "robert", None
            session.commit()
            query = sa.select(Customer).options(orm.selectinload(Customer.orders)).order_by(Customer.name)
            assert [(each.name, len(each.orders)) for each in session.scalars(query)] == [("ann", 3), ("robert", 2)]
            query = sa.select(Customer).options(orm.joinedload(Customer.orders)).where(Customer.id == bob.id)
            assert session.scalars(query).unique().one().orders[0].placed == at
            session.rollback()
            session.execute(sa.delete(Order).where(Order.customer_id == bob.id))
            session.commit()
            session.delete(session.get(Customer, bob.id))
            session.commit()
            assert session.scalars(sa.select(Customer.name)).all() == ["ann"]

    database.run(body)


class Numbered(orm.DeclarativeBase):
    pass


class Note(Numbered):
    __tablename__ = "notes"
    id: orm.Mapped[int] = orm.mapped_column(sa.Identity(), primary_key=True)
    text: orm.Mapped[str]


class Serial(Numbered):
    __tablename__ = "serials"
    id: orm.Mapped[int] = orm.mapped_column(primary_key=True)
    text: orm.Mapped[str]


@CLIENT.step("definitions", "ORM: keys that the server gives out (`IDENTITY`, `SERIAL`)")
def test_identity(database, schema):
    def body(connection):
        connection = connection.execution_options(schema_translate_map={None: schema})
        Numbered.metadata.create_all(connection)
        connection.commit()
        with orm.Session(connection) as session:
            for kind in (Note, Serial):
                rows = [kind(text=text) for text in "abc"]
                session.add_all(rows)
                session.flush()
                session.add(kind(text="d"))
                session.commit()
                assert [row.id for row in rows] == [1, 2, 3]
                assert session.execute(sa.select(kind.id, kind.text).order_by(kind.id)).all() == [(1, "a"), (2, "b"), (3, "c"), (4, "d")]

    database.run(body)


@CLIENT.step("definitions", "`create_all` and `drop_all` in one transaction, with comments")
def test_definitions(database, schema):
    def body(connection):
        metadata = sa.MetaData(schema=schema)
        for name in ("one", "two"):
            sa.Table(name, metadata, sa.Column("id", sa.Integer, primary_key=True, autoincrement=False, comment="Which"), sa.Column("name", sa.Text), comment=f"Number {name}")
        metadata.create_all(connection)
        connection.rollback()
        assert sa.inspect(connection).get_table_names(schema=schema) == []
        connection.rollback()
        metadata.create_all(connection)
        connection.commit()
        inspector = sa.inspect(connection)
        assert inspector.get_table_comment("one", schema=schema) == {"text": "Number one"}
        assert [column["comment"] for column in inspector.get_columns("two", schema=schema)] == ["Which", None]
        connection.rollback()
        metadata.drop_all(connection)
        connection.commit()
        assert sa.inspect(connection).get_table_names(schema=schema) == []

    database.run(body)


@CLIENT.step("definitions", "foreign keys")
def test_foreign_keys(database, schema):
    def body(connection):
        metadata = sa.MetaData(schema=schema)
        sa.Table("one", metadata, sa.Column("id", sa.Integer, primary_key=True, autoincrement=False))
        sa.Table("two", metadata, sa.Column("id", sa.Integer, primary_key=True, autoincrement=False), sa.Column("one", sa.ForeignKey(f"{schema}.one.id")),
                 sa.Column("up", sa.ForeignKey(f"{schema}.two.id", name="parent", onupdate="SET NULL", ondelete="CASCADE")))
        metadata.create_all(connection)
        connection.commit()
        common = {"referred_schema": schema, "referred_columns": ["id"], "comment": None}
        assert sorted(sa.inspect(connection).get_foreign_keys("two", schema=schema), key=lambda key: key["name"]) == [
            common | {"name": "parent", "constrained_columns": ["up"], "referred_table": "two", "options": {"onupdate": "SET NULL", "ondelete": "CASCADE"}},
            common | {"name": "two_one_fkey", "constrained_columns": ["one"], "referred_table": "one", "options": {}}]
        reflected = sa.MetaData()
        reflected.reflect(connection, schema=schema)
        assert {key.target_fullname for key in reflected.tables[f"{schema}.two"].foreign_keys} == {f"{schema}.one.id", f"{schema}.two.id"}
        connection.rollback()
        metadata.drop_all(connection)
        connection.commit()
        assert sa.inspect(connection).get_table_names(schema=schema) == []

    database.run(body)


@CLIENT.step("errors", "errors are of the right classes, and the connection can be used again")
def test_errors(database):
    def body(connection):
        for statement, error in (("select * from nowhere", sa.exc.ProgrammingError), ("selec 1", sa.exc.ProgrammingError), ("select nothing from pg_class", sa.exc.ProgrammingError)):
            with pytest.raises(error):
                connection.execute(sa.text(statement))
            connection.rollback()
        with pytest.raises(sa.exc.DBAPIError):
            connection.execute(sa.text("select 1/0"))
        connection.rollback()
        assert connection.scalar(sa.text("select 1")) == 1

    database.run(body)
