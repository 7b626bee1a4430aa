"""Stock pgbench with select scripts, in each protocol mode. With AURIC_TEST_POSTGRES against PostgreSQL."""

import glob
import re
import shutil
import subprocess

import pytest

from client_matrix import Client
from packages import debian

SCRIPTS = {
    "constants": "select 1;\n",
    "variables": "\\set n random(1, 1000)\n\\set m :n + 1\nselect :n::int + 1, :m::bigint, 'text'::text;\n",
    "lookups": "\\set id random(1, 1000)\nselect id, name from {table} where id = :id;\nselect count(*), sum(id)::int8 from {table} where id < :id;\n",
    "transactions": "\\set id random(1, 1000)\nbegin;\nselect name from {table} where id = :id;\nselect count(*) from {table} where name = 'name ' || :id::text;\nend;\n",
    "pipelines": "\\set id random(1, 1000)\n\\startpipeline\nselect id from {table} where id = :id;\nselect 2;\n\\endpipeline\n",
}


@pytest.fixture(scope="module")
def pgbench():
    found = shutil.which("pgbench") or next(iter(sorted(glob.glob("/usr/lib/postgresql/*/bin/pgbench"))), None)
    if not found:
        debian("postgresql-contrib")
        found = next(iter(sorted(glob.glob("/usr/lib/postgresql/*/bin/pgbench"))))
    return found


CLIENT = Client("pgbench", "15", "`pgbench -n -f`, four connections, with the modes `simple`, `extended` and `prepared`.")
STEPS = CLIENT.steps("queries", *SCRIPTS)


@pytest.mark.parametrize("mode", ["simple", "extended", "prepared"])
@pytest.mark.parametrize("script", STEPS)
def test_scripts(server, schema, pgbench, script, mode, tmp_path):
    if script == "pipelines" and mode == "simple":
        pytest.skip("pgbench has pipelines only in the extended protocol")
    table = f"{schema}.t"
    server.sql(f"create table {table} (id bigint, name text)")
    server.sql(f"insert into {table} select i, 'name ' || i from generate_series(1, 1000) as g(i)")
    (tmp_path / "script.sql").write_text(SCRIPTS[script].format(table=table))
    ran = subprocess.run([pgbench, "-n", "-f", str(tmp_path / "script.sql"), "-M", mode, "-c", "4", "-j", "2", "-t", "25", "-h", server.host,
                          "-p", str(server.port), "-U", server.user, server.database], capture_output=True, text=True, timeout=100)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "number of transactions actually processed: 100/100" in ran.stdout, ran.stdout
    assert re.search(r"number of failed transactions: 0 ", ran.stdout), ran.stdout
