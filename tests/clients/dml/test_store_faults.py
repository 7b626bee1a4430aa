"""The object store fails at any step of a statement: the table is as before or as after it, which of the two is what the client
was told, unless it was told that the outcome is unknown; other readers see the same, and the next statement works.

How often and how long requests are repeated cannot be set, which is what takes time here. More of them, and all, which are
thousands and take hours: `AURIC_FAULT_CASES=60` (of each layout), `AURIC_DML_ALL=1 python -m pytest
tests/clients/dml/test_store_faults.py --timeout 10800 -s`."""

import contextlib
import dataclasses
import hashlib
import itertools
import os
import pathlib
import random
import re
import threading
import urllib.parse
from collections import Counter
from concurrent.futures import Future, ThreadPoolExecutor

import psycopg
import pytest

from case import create
from conftest import eventually, running
from object_store import SECRETS, Proxy, behind, client_of, configuration, object_store, read
from outside import multiset
from shape import DELTA_COPY, DELTA_MARK, V2_COPY, V2_MARK, V3_MARK, Layout

IO_ERROR, UNKNOWN = "58030", "08007"
ALL = bool(os.environ.get("AURIC_DML_ALL"))
SEED = int(os.environ.get("AURIC_FAULT_SEED", "1"))
# Cases of a layout, if not all.
SAMPLE = int(os.environ.get("AURIC_FAULT_CASES", "8"))
# deltalake does not find deletion vectors below a folder with a space in its name.
WAREHOUSE = "warehouse"
# They mostly wait for the repetitions of requests that fail.
AT_A_TIME = 32
# More of these statements than that do not fit into the server's memory.
LARGE_AT_A_TIME = threading.BoundedSemaphore(6)


LAYOUTS = {
    "v2_copy": V2_COPY, "v3_mark": V3_MARK, "delta_copy": DELTA_COPY,
    # A commit is followed by the deletion of the metadata file before the last.
    "v2_mark": dataclasses.replace(V2_MARK, properties=(
        *V2_MARK.properties, ("write.metadata.delete-after-commit.enabled", "true"), ("write.metadata.previous-versions-max", "1"))),
    # The statement's version has a checkpoint.
    "delta_mark": dataclasses.replace(DELTA_MARK, properties=(*DELTA_MARK.properties, ("delta.checkpointInterval", "3"))),
}
COLUMNS = "id bigint, k text, v bigint, s text"
FIRST = ("(1, 'a', 10), (2, 'b', 20), (3, 'a', 30), (4, 'b', 40)", "(5, 'a', 50), (6, 'b', 60), (7, 'a', 70), (8, 'b', 80)")
TABLES = ("t", "u")
STATEMENTS = {
    "INSERT": ["insert into t (id, k, v) values (9, 'a', 90), (10, 'b', 100), (11, 'c', 110)"],
    "UPDATE": ["update t set v = v + 1 where id % 3 = 0"],
    "DELETE": ["delete from t where id % 4 < 2"],
    "MERGE": ["merge into t using (values (2, 'b', 21), (7, 'a', 71), (9, 'a', 91)) as s(id, k, v) on t.id = s.id "
              "when matched then update set v = s.v when not matched then insert (id, k, v) values (s.id, s.k, s.v)"],
    "INSERT OVERWRITE": ["insert overwrite t select id + 100, k, v, s from t where k = 'a'"],
    # Its file is sent in two parts.
    "large INSERT": ["insert into t select x, 'a', x, string_agg(md5(cast(x * 10000 + y as text)), '' order by y) "
                     "from generate_series(101, 200) as g(x) cross join generate_series(1, 7000) as h(y) group by x"],
    "transaction": ["begin", "insert into t (id, k, v) values (9, 'c', 90)", "update t set v = 0 where id in (1, 9)", "delete from t where id = 8", "commit"],
    "transaction of two tables": ["begin", "insert into t (id, k, v) values (9, 'c', 90)", "update u set v = 0 where id = 1", "delete from t where id = 2", "commit"],
}


def statements_of(name: str) -> list[str]:
    """A transaction that changes a Delta table may change nothing else, and how a file is sent is the same for all layouts of a format."""
    left_out = {"transaction of two tables"} if name.startswith("delta") else set()
    return [statement for statement in STATEMENTS if statement not in left_out | ({"large INSERT"} if not name.endswith("copy") else set())]


def writes(method: str, path: str) -> bool:
    return method in ("PUT", "POST", "DELETE")


def adds(method: str, path: str) -> bool:
    return method == "PUT" or method == "POST" and not path.endswith("?delete")


def any_request(method: str, path: str) -> bool:
    return True


@dataclasses.dataclass(frozen=True)
class Kind:
    """What the store does to requests that the fault concerns."""

    # Which are numbered.
    concerns: object = any_request
    # Whether the numbered request reaches the store.
    done: bool = False
    # None: the connection is closed, or nothing happens until the statement has ended.
    status: int | None = None
    hangs: bool = False
    # From the numbered request on until the statement has ended; else it and its repetitions, or it alone.
    lasts: bool = True
    repeated: bool = True
    # Whether a statement that fails is able to remove what it wrote.
    cleans: bool = False


KINDS = {
    "refused": Kind(status=503),
    "denied": Kind(concerns=writes, status=403),
    # What is there can be read and deleted.
    "full": Kind(concerns=adds, status=507, cleans=True),
    "reset": Kind(),
    # Auric waits for an answer as long as AWS_TIMEOUT says.
    "hangs": Kind(hangs=True),
    "lost": Kind(done=True, lasts=False, cleans=True),
    # What it has done already it finds done when it is asked again.
    "forgotten": Kind(concerns=writes, done=True, status=503, lasts=False, cleans=True),
    "forgotten once": Kind(concerns=writes, done=True, status=503, lasts=False, repeated=False, cleans=True),
}


class Fault:
    """What happens to the requests of one statement. Without a kind: they are only written down."""

    def __init__(self, kind: Kind | None = None, at: int = 0):
        self.kind, self.at, self.lock, self.ended = kind, at, threading.Lock(), threading.Event()
        self.requests: list[tuple[str, str]] = []
        self.counted, self.met = 0, None

    def hits(self, method: str, path: str) -> bool:
        with self.lock:
            if self.ended.is_set():
                return False
            self.requests.append((method, path))
            if not self.kind or not self.kind.concerns(method, path):
                return False
            self.counted += 1
            if self.counted == self.at:
                self.met = method, path
                return True
            if self.met is None:
                return False
            return self.kind.lasts or self.kind.repeated and self.met == (method, path)


class Faulty(Proxy):
    """A store with faults, by the schema that a request is about."""

    faults: dict[str, Fault] = {}

    def handle_request(self):
        self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        about = urllib.parse.unquote_plus(self.path) + (self.body.decode() if self.path.endswith("?delete") else "")
        found = re.search(r"/(f\d+)/", about)
        fault = self.faults.get(found[1]) if found else None
        if not fault or not fault.hits(self.command, self.path):
            return self.answer(*self.ask())
        if fault.kind.done:
            self.ask()
        if fault.kind.hangs:
            fault.ended.wait()
        if fault.kind.status is None:
            self.close_connection = True
        else:
            self.answer(fault.kind.status, {}, b"")


class Place:
    """A server, and the store that it reaches by way of the faults."""

    def __init__(self, server, store: str, faults: dict[str, Fault]):
        self.server, self.store, self.faults, self.numbers = server, store, faults, itertools.count()
        self.client = client_of(store)

    def objects(self, schema: str) -> set[str]:
        prefix = f"{WAREHOUSE}/{schema}/"
        uploads = self.client.list_multipart_uploads(Bucket="lake").get("Uploads", [])
        found = self.client.list_objects_v2(Bucket="lake", Prefix=prefix)
        assert not found["IsTruncated"]
        return {entry["Key"] for entry in found.get("Contents", [])} | {
            f"unfinished upload of {upload['Key']}" for upload in uploads if upload["Key"].startswith(prefix)}

    def remove(self, schema: str):
        keys = [{"Key": key} for key in self.objects(schema)]
        self.client.delete_objects(Bucket="lake", Delete={"Objects": keys, "Quiet": True})


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    directory = tmp_path_factory.mktemp("faults")
    with object_store("lake", "other") as store, behind(Faulty, store, faults={}) as (endpoint, handler):
        file = configuration(directory, endpoint, store, warehouse=WAREHOUSE, log="info", ignore_environment=False)
        with running(directory / "data", "--config", str(file), environment={"AWS_TIMEOUT": "5s"} if ALL else {}) as server:
            yield Place(server, store, handler.faults)
            assert not [line for line in server.log if any(secret in line for secret in SECRETS)]


@dataclasses.dataclass
class Undisturbed:
    """What a statement does, and the requests that it does it with."""

    requests: list[tuple[str, str]]
    before: list[Counter]
    after: list[Counter]
    new: Counter


def turn(statement: str) -> contextlib.AbstractContextManager:
    return LARGE_AT_A_TIME if statement == "large INSERT" else contextlib.nullcontext()


class Run:
    """One statement on tables of its own."""

    def __init__(self, place: Place, layout: Layout, statement: str):
        self.place, self.layout, self.statements = place, layout, STATEMENTS[statement]
        self.schema = f"f{next(place.numbers)}"
        self.tables = TABLES if statement == "transaction of two tables" else TABLES[:1]

    def __enter__(self):
        self.connection = self.place.server.connect()
        self.connection.execute(f"create schema {self.schema}; set search_path to {self.schema}")
        for table in self.tables:
            self.connection.execute(create(table, COLUMNS, self.layout, "k"))
            for values in FIRST:
                self.connection.execute(f"insert into {table} (id, k, v) values {values}")
        self.there = self.place.objects(self.schema)
        return self

    def __exit__(self, *_):
        self.connection.close()
        # The store keeps everything in memory.
        self.place.remove(self.schema)

    def execute(self):
        try:
            for statement in self.statements:
                self.connection.execute(statement)
        except psycopg.Error:
            if not self.connection.broken:
                self.connection.execute("rollback")
            raise

    def execute_with(self, fault: Fault) -> psycopg.Error | None:
        """The client's error."""
        self.place.faults[self.schema] = fault
        try:
            self.execute()
        except psycopg.Error as error:
            return error
        finally:
            fault.ended.set()
        return None

    def rows(self) -> list[Counter]:
        return [multiset(self.connection.execute(f"select id, k, v, md5(s) from {table}").fetchall()) for table in self.tables]

    def rows_outside(self) -> list[Counter]:
        return [multiset((*values, s and hashlib.md5(s.encode()).hexdigest())
                         for *values, s in read(self.place.server, self.place.store, self.layout.format, self.schema, table, WAREHOUSE)) for table in self.tables]

    def new(self) -> set[str]:
        return self.place.objects(self.schema) - self.there


def undisturbed(place: Place, layout: Layout, statement: str) -> Undisturbed:
    with turn(statement), Run(place, layout, statement) as run:
        before, fault = run.rows(), Fault()
        assert run.execute_with(fault) is None
        after = run.rows()
        assert before != after and run.rows_outside() == after
        return Undisturbed(fault.requests, before, after, endings(run.new()))


def endings(paths) -> Counter:
    return Counter(pathlib.PurePosixPath(path).suffix for path in paths)


@dataclasses.dataclass(frozen=True)
class Case:
    statement: str
    kind: str
    at: int


def check(place: Place, layout: Layout, case: Case, expected: Undisturbed) -> str:
    """What came of it."""
    kind = KINDS[case.kind]
    with turn(case.statement), Run(place, layout, case.statement) as run:
        fault = Fault(kind, case.at)
        error = run.execute_with(fault)
        found = run.rows()
        happened = found == expected.after
        told = "success" if error is None else f"{error.sqlstate} {error} {error.diag.message_detail}"
        assert happened or found == expected.before, f"neither before nor after: {found}; told {told}"
        assert run.rows_outside() == found, "other readers see other rows"
        if error is None:
            assert happened, "told success of what did not happen"
        else:
            assert fault.met, f"not disturbed and told {told}"
            assert error.sqlstate in (IO_ERROR, UNKNOWN), told
            assert error.sqlstate == UNKNOWN or not happened, f"happened, and told {told}"
            assert not any(secret in told for secret in SECRETS)
            assert case.kind != "forgotten once", f"did not try again: {told}"
        # Where the store also fails while the statement cleans up, files that no version names may stay.
        if kind.cleans and not happened and error.sqlstate != UNKNOWN:
            eventually(run.new, lambda new: not new)
        elif kind.cleans and happened:
            eventually(run.new, lambda new: not endings(new) - expected.new)
        if happened:
            run.connection.execute("insert into t (id, k, v) values (1000, 'z', 0)")
            afterwards = [found[0] + multiset([(1000, "z", 0, None)]), *found[1:]]
        else:
            run.execute()
            afterwards = expected.after
        assert run.rows() == afterwards, "the next statement did something else"
        outcome = "after" if happened else "before"
        return f"not met, {outcome}" if not fault.met else f"unknown, {outcome}" if error and error.sqlstate == UNKNOWN else outcome


def cases_of(layout: Layout, expected: dict[str, Undisturbed]) -> list[Case]:
    """One for each request that a fault concerns. Answers that do not come take a minute, which only a long run has."""
    kinds = {name: kind for name, kind in KINDS.items() if ALL or not kind.hangs}
    return [Case(statement, name, at) for statement, found in expected.items() for name, kind in kinds.items()
            for at in range(1, 1 + sum(kind.concerns(*request) for request in found.requests))]


@dataclasses.dataclass
class Results:
    expected: dict[str, Undisturbed]
    cases: list[tuple[Case, Future]]


@pytest.fixture(scope="module")
def results(place, request):
    """Of the layouts that are asked for, all at once: they wait for one another else."""
    names = [item.callspec.params["name"] for item in request.session.items if item.originalname == "test_a_store_that_fails_at_any_step"]
    with ThreadPoolExecutor(AT_A_TIME) as pool:
        yield {name: start(pool, place, name) for name in names}


def start(pool: ThreadPoolExecutor, place: Place, name: str) -> Results:
    layout, rng = LAYOUTS[name], random.Random(f"{SEED} {name}")
    expected = {statement: pool.submit(undisturbed, place, layout, statement) for statement in statements_of(name)}
    expected = {statement: future.result() for statement, future in expected.items()}
    cases = cases_of(layout, expected)
    cases = rng.sample(cases, len(cases) if ALL else min(SAMPLE, len(cases)))
    return Results(expected, [(case, pool.submit(check, place, layout, case, expected[case.statement])) for case in cases])


@pytest.mark.long
@pytest.mark.parametrize("name", LAYOUTS)
def test_a_store_that_fails_at_any_step(results, name):
    expected, outcomes, wrong = results[name].expected, Counter(), []
    for case, future in results[name].cases:
        try:
            outcomes[case.kind, future.result()] += 1
        except Exception as error:  # noqa: BLE001 - all that is wrong is told
            method, path = [request for request in expected[case.statement].requests if KINDS[case.kind].concerns(*request)][case.at - 1]
            wrong.append(f"{case.statement}, {case.kind} at {case.at} ({method} {path}): {type(error).__name__} {error}")
            print(f"{name}: {wrong[-1]}", flush=True)
    print(f"\n{name}: {len(results[name].cases)} faults at {', '.join(f'{len(found.requests)} requests of {statement}' for statement, found in expected.items())}")
    for (kind, outcome), count in sorted(outcomes.items()):
        print(f"  {kind}: {count} {outcome}")
    assert not wrong, f"{len(wrong)}:\n" + "\n".join(sorted(wrong))


def reads_data(method: str, path: str) -> bool:
    return method == "GET" and path.endswith(".parquet")


@pytest.mark.parametrize("name", ["v2_copy", "delta_copy"])
def test_a_file_that_cannot_be_fetched_is_not_called_corrupt(place, name):
    """Whoever believes it may restore a table that nothing is wrong with."""
    with Run(place, LAYOUTS[name], "MERGE") as run:
        error = run.execute_with(Fault(Kind(concerns=reads_data, status=503), 1))
        assert error.sqlstate == IO_ERROR, error
