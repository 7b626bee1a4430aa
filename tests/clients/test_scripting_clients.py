"""Stock DBD::Pg, PDO and ActiveRecord, as Debian packages them: the steps are in `scripts`, and each reports `ok` or what went wrong."""

import functools
import os
import pathlib
import subprocess

import pytest

from client_matrix import Client
from packages import debian

FOLDER = pathlib.Path(__file__).parent / "scripts"
PERL = Client("DBD::Pg", "3.16", "Debian's `libdbd-pg-perl`.")
PHP = Client("PDO", "PHP 8.2", "Debian's `php-pgsql`: PDO, with statements prepared by the server and emulated, and the functions `pg_…`.")
RUBY = Client("ActiveRecord", "6.1", "Debian's `ruby-activerecord` and `ruby-pg`.")
PROGRAMS = {
    PERL.name: (["libdbd-pg-perl", "perl"], ["perl", "dbd_pg.pl"]),
    PHP.name: (["php-cli", "php-pgsql"], ["php", "pdo_pgsql.php"]),
    RUBY.name: (["ruby-activerecord", "ruby-pg"], ["ruby", "active_record.rb"]),
}


@pytest.fixture(scope="module")
def report(server):
    """What each step of a client said, from one run of its program."""

    @functools.cache
    def report(name):
        packages, (program, script) = PROGRAMS[name]
        debian(*packages)
        environment = {**os.environ, "PGHOST": server.host, "PGPORT": str(server.port), "PGUSER": server.user, "PGDATABASE": server.database, "LC_ALL": "C.UTF-8"}
        ran = subprocess.run([program, str(FOLDER / script), script.partition(".")[0]], capture_output=True, text=True, timeout=120, env=environment)
        assert ran.returncode == 0, ran.stdout + ran.stderr
        return dict(line.split("\t", 1) for line in ran.stdout.splitlines())

    return report


STEPS = [
    *((PERL, step) for step in [
        *PERL.steps("types", "placeholders of every type, arrays, bytea"),
        *PERL.steps("introspection", "column_info, primary_key_info, statistics_info, table_info"),
        *PERL.steps("transactions", "transactions, savepoints, cursors"), *PERL.steps("copy", "COPY in and out"),
        *PERL.steps("errors", "asynchronous statements, one cancelled at once")]),
    *((PHP, step) for step in [
        *PHP.steps("types", "parameters of every type, prepared by the server", "parameters of every type, emulated"),
        *PHP.steps("queries", "filters, limits, RETURNING, transactions, prepared by the server", "filters, limits, RETURNING, transactions, emulated"),
        *PHP.steps("copy", "COPY, prepared by the server", "COPY, emulated"),
        *PHP.steps("changes", "pg_meta_data, pg_insert, pg_select, pg_update, pg_delete")]),
    *((RUBY, step) for step in [
        *RUBY.steps("introspection", "create_table, columns, primary keys, tables"), *RUBY.steps("changes", "create, insert_all, upsert_all, update, destroy"),
        *RUBY.steps("queries", "where, aggregates, find_each, joins of conditions"), *RUBY.steps("transactions", "transactions, savepoints, locks, errors"),
        *RUBY.steps("changes", "keys that the server gives out")]),
]


@pytest.mark.parametrize(("client", "step"), [pytest.param(client.name, step.values[0], marks=step.marks) for client, step in STEPS])
def test_steps(report, client, step):
    assert report(client)[step] == "ok"
