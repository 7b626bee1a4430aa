"""Stock Django: models, queries and introspection through its Postgres backend (psycopg). What it cannot do here fails by name."""

import datetime
import decimal
import os
import uuid

import django
import pytest
from django.conf import settings

from client_matrix import Client

CLIENT = Client("Django", django.__version__)
UTC = datetime.timezone.utc
IDS = [uuid.UUID(int=i) for i in range(10)]


@pytest.fixture(scope="module")
def models(server):
    """Two models whose tables are in a schema of this module."""
    name = "django_models"
    server.sql(f"drop schema if exists {name} cascade")
    server.sql(f"create schema {name}")
    database = {"ENGINE": "django.db.backends.postgresql", "NAME": server.database, "USER": server.user, "HOST": server.host, "PORT": server.port,
                "OPTIONS": {"options": f"-c search_path={name}"}}
    settings.configure(DATABASES={"default": database}, INSTALLED_APPS=[], USE_TZ=True, TIME_ZONE="UTC")
    django.setup()
    from django.db import connection, models  # noqa: PLC0415

    class Item(models.Model):
        id = models.UUIDField(primary_key=True, default=uuid.uuid4)
        name = models.CharField(max_length=50)
        price = models.DecimalField(max_digits=10, decimal_places=2, null=True)
        n = models.IntegerField(default=0)
        ok = models.BooleanField(default=True)
        day = models.DateField(null=True)
        at = models.DateTimeField(null=True)
        y = models.BinaryField(null=True)
        doc = models.JSONField(null=True)

        class Meta:
            app_label = "kept"

    class Plain(models.Model):
        k = models.IntegerField(primary_key=True)
        v = models.CharField(max_length=10)

        class Meta:
            app_label = "kept"

    class Numbered(models.Model):
        name = models.CharField(max_length=10)

        class Meta:
            app_label = "kept"

    with connection.schema_editor() as editor:
        for model in (Item, Plain, Numbered):
            editor.create_model(model)
    yield Item, Plain, Numbered
    connection.close()


@pytest.fixture
def items(models):
    item, *_ = models
    item.objects.all().delete()
    at = datetime.datetime(2024, 2, 29, 1, 2, 3, 4, tzinfo=UTC)
    item.objects.create(id=IDS[1], name="a", price=decimal.Decimal("1.25"), n=1, ok=False, day=at.date(), at=at, y=b"\0\xff", doc={"a": [1, None, "x"]})
    item.objects.bulk_create([item(id=IDS[i], name=f"n{i}", n=i, price=i, at=at.replace(month=i), doc={"k": i}) for i in (3, 4)])
    return item.objects


@CLIENT.step("changes", "create, `bulk_create`, `save`, `update`, `delete`, values of every field")
def test_changes(items):
    first = items.get(id=IDS[1])
    assert (first.name, first.price, first.ok, first.day, first.at.microsecond, bytes(first.y), first.doc) == (
        "a", decimal.Decimal("1.25"), False, datetime.date(2024, 2, 29), 4, b"\0\xff", {"a": [1, None, "x"]})
    first.name, first.doc = "changed", None
    first.save()
    assert items.filter(n__gt=2).update(name="x") == 2
    assert list(items.order_by("n").values_list("name", "doc")) == [("changed", None), ("x", {"k": 3}), ("x", {"k": 4})]
    assert items.filter(n=4).delete()[0] == 1 and items.count() == 2


@CLIENT.step("changes", "`bulk_create` with `update_conflicts` and `ignore_conflicts`, `bulk_update`, `get_or_create`")
def test_upserts(models):
    _, plain, _ = models
    plain.objects.all().delete()
    plain.objects.bulk_create([plain(k=3, v="a"), plain(k=4, v="b")])
    plain.objects.bulk_create([plain(k=3, v="up"), plain(k=5, v="in")], update_conflicts=True, unique_fields=["k"], update_fields=["v"])
    plain.objects.bulk_create([plain(k=3, v="no"), plain(k=6, v="in")], ignore_conflicts=True)
    plain.objects.bulk_update([plain(k=4, v="bulk")], ["v"])
    assert plain.objects.get_or_create(k=7, defaults={"v": "n"})[1]
    assert list(plain.objects.order_by("k").values_list()) == [(3, "up"), (4, "bulk"), (5, "in"), (6, "in"), (7, "n")]


@CLIENT.step("changes", "keys that the server gives out: `create`, `bulk_create`")
def test_numbered(models):
    *_, numbered = models
    first = numbered.objects.create(name="a")
    others = numbered.objects.bulk_create([numbered(name="b"), numbered(name="c")])
    assert [row.pk for row in (first, *others)] == [1, 2, 3]
    assert list(numbered.objects.order_by("pk").values_list("name", flat=True)) == ["a", "b", "c"]


@CLIENT.step("queries", "lookups of texts, dates, documents; aggregates; windows; subqueries")
def test_queries(items):
    from django.db.models import Avg, Count, Exists, F, OuterRef, Q, Sum, Window
    from django.db.models.functions import JSONArray, JSONObject, RowNumber, TruncMonth

    def numbers(**lookups):
        return sorted(items.filter(**lookups).values_list("n", flat=True))

    assert (numbers(name__icontains="N"), numbers(name__regex="^n"), numbers(id__in=IDS[:2])) == ([3, 4], [3, 4], [1])
    assert (numbers(at__year=2024), numbers(at__date="2024-02-29"), numbers(day__week_day=5)) == ([1, 3, 4], [1], [1])
    assert (numbers(doc__k=3), numbers(doc__a__0=1), numbers(doc__k__gt=3), numbers(doc__contains={"k": 3}), numbers(doc__has_key="a")) == ([3], [1], [4], [3], [1])
    assert items.aggregate(c=Count("*"), s=Sum("price"), a=Avg("n"), f=Count("id", filter=Q(n__gt=1))) == {
        "c": 3, "s": decimal.Decimal("8.25"), "a": pytest.approx(8 / 3), "f": 2}
    months = items.annotate(m=TruncMonth("at")).values("m").annotate(c=Count("*")).order_by("m")
    assert [(row["m"].month, row["c"]) for row in months] == [(2, 1), (3, 1), (4, 1)]
    ranked = items.annotate(r=Window(RowNumber(), order_by=F("n").desc())).filter(r=1)
    assert list(ranked.values_list("n")) == [(4,)]
    assert items.filter(Exists(items.filter(n=OuterRef("n") + 1))).count() == 1
    built = items.filter(n=3).annotate(o=JSONObject(a="n", b="name"), l=JSONArray("n", "name")).values_list("o", "l")
    assert list(built) == [({"a": 3, "b": "n3"}, [3, "n3"])]


@CLIENT.step("cursors", "`iterator()` by a server-side cursor")
def test_iterator(items):
    assert [item.n for item in items.order_by("n").iterator(chunk_size=2)] == [1, 3, 4]


@CLIENT.step("transactions", "`atomic` nested, rollback, `select_for_update`")
def test_transactions(items):
    from django.db import transaction

    with pytest.raises(KeyError), transaction.atomic():
        items.filter(n=1).delete()
        with pytest.raises(ValueError), transaction.atomic():
            items.all().delete()
            raise ValueError
        assert len(items.select_for_update()) == 2
        raise KeyError
    assert items.count() == 3


@CLIENT.step("errors", "classes of errors")
def test_errors(models):
    from django.db import DataError, IntegrityError

    _, plain, _ = models
    with pytest.raises(DataError, match="too long"):
        plain.objects.create(k=99, v="x" * 11)
    with pytest.raises(IntegrityError):
        plain.objects.create(k=99, v=None)


@pytest.mark.skipif("AURIC_TEST_POSTGRES" in os.environ, reason="PostgreSQL can")
def test_a_migration_that_adds_a_field_with_a_default_is_refused(models):
    from django.db import NotSupportedError, connection
    from django.db import models as fields

    _, plain, _ = models
    added = fields.IntegerField(default=1)
    added.set_attributes_from_name("extra")
    with pytest.raises(NotSupportedError, match="not supported"), connection.schema_editor() as editor:
        editor.add_field(plain, added)


@CLIENT.step("introspection", "tables, columns and primary keys")
def test_introspection(models):
    from django.db import connection

    with connection.cursor() as cursor:
        found = connection.introspection
        assert set(found.table_names(cursor)) == {"kept_item", "kept_plain", "kept_numbered"}
        types = [(column.name, found.get_field_type(column.type_code, column)) for column in found.get_table_description(cursor, "kept_item")]
        assert dict(types)["doc"] == "JSONField" and dict(types)["price"] == "DecimalField"


@CLIENT.step("introspection", "`inspectdb`")
def test_inspectdb(models):
    import io

    from django.core.management import call_command
    from django.db import connection

    with connection.cursor() as cursor:
        constraints = connection.introspection.get_constraints(cursor, "kept_plain")
    assert [found["columns"] for found in constraints.values() if found["primary_key"]] == [["k"]]
    models = io.StringIO()
    call_command("inspectdb", "kept_plain", stdout=models)
    assert "class KeptPlain(models.Model):" in models.getvalue()
    assert "k = models." in models.getvalue() and "primary_key=True" in models.getvalue()
    assert "Unable to inspect" not in models.getvalue()
