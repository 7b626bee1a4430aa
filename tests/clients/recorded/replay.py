"""Statements that real tools sent to a PostgreSQL, and how a server answers them.

`statements/<tool>.sql` holds the distinct statements of a tool in the order it sent them: a comment (steps, protocol,
parameters), the statement, `;;`. `python replay.py DSN > postgres.json` records a server's answers; the DSN's database
holds what `setup.postgres.sql` makes."""

import json
import pathlib
import re
import sys

import psycopg
from psycopg import pq

FOLDER = pathlib.Path(__file__).parent
TOOLS = sorted(path.stem for path in (FOLDER / "statements").glob("*.sql"))
# They end the connection, wait, or would compute until they are cancelled.
SKIPPED = ("pg_sleep", "pg_terminate_backend", "public.bench a, public.bench b")


class Statement:
    """One statement with its parameters as text; `None`: it was sent by the simple protocol."""

    def __init__(self, block: str):
        lines = block.strip("\n").split("\n")
        start = next((i for i, line in enumerate(lines) if line.strip() and not line.startswith("-- ")), len(lines))
        self.sql = "\n".join(lines[start:])
        head = " ".join(lines[:start])
        # What the tool was doing.
        found = re.search(r"@steps=(\S+)", head)
        self.steps: list[str] = found.group(1).split(",") if found else []
        self.parameters: list[str | None] | None = None
        if found := re.search(r"parameters: (.*)$", head):
            values = re.findall(r"\$\d+ = (NULL|'(?:[^']|'')*')", found.group(1))
            self.parameters = [None if value == "NULL" else value[1:-1].replace("''", "'") for value in values]
        elif "proto=extended" in head and ";" not in self.sql.rstrip().rstrip(";"):
            self.parameters = []


def statements(tool: str) -> list[Statement]:
    blocks = (FOLDER / "statements" / f"{tool}.sql").read_text().split("\n;;")
    found = [Statement(block) for block in blocks]
    return [one for one in found if one.sql.strip() and not any(word in one.sql for word in SKIPPED)]


def origin(tool: str) -> str:
    """Where its statements come from."""
    return (FOLDER / "statements" / f"{tool}.sql").read_text().split("\n")[0].split(": ", 1)[1]


def type_names(connection: psycopg.Connection) -> dict[int, str]:
    return dict(connection.execute("select oid::int8, typname::text from pg_catalog.pg_type").fetchall())


def answer(connection: psycopg.Connection, statement: Statement, types: dict[int, str]) -> dict:
    """`error` with its SQLSTATE, or `columns` with name and type of each, or what COPY does."""
    if statement.parameters is None:
        result = connection.pgconn.exec_(statement.sql.encode())
    else:
        values = [None if value is None else value.encode() for value in statement.parameters]
        result = connection.pgconn.exec_params(statement.sql.encode(), values)
    if result.status == pq.ExecStatus.COPY_IN:
        connection.pgconn.put_copy_end(None)
    if result.status in (pq.ExecStatus.COPY_IN, pq.ExecStatus.COPY_OUT):
        direction = "in" if result.status == pq.ExecStatus.COPY_IN else "out"
        while direction == "out" and connection.pgconn.get_copy_data(0)[0] > 0:
            pass
        while connection.pgconn.get_result() is not None:
            pass
        return {"copy": direction}
    if result.status == pq.ExecStatus.FATAL_ERROR:
        return {"error": (result.error_field(pq.DiagnosticField.SQLSTATE) or b"").decode()}
    columns = [[result.fname(i).decode(), types.get(result.ftype(i), str(result.ftype(i)))] for i in range(result.nfields)]
    return {"columns": columns}


def replay(dsn: str, tool: str) -> list[dict]:
    """The answers to all statements of a tool, on one connection."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        types = type_names(connection)
        connection.execute("set statement_timeout = '60s'")
        return [answer(connection, statement, types) for statement in statements(tool)]


if __name__ == "__main__":
    answers = {tool: replay(sys.argv[1], tool) for tool in TOOLS}
    print("{" + ",\n".join(f'"{tool}": [\n' + ",\n".join(json.dumps(one) for one in all_of) + "\n]" for tool, all_of in answers.items()) + "}")
