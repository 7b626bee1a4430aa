"""Tools of which no test runs the real one: what they do, as steps of `docs/clients.md`, by the statements that they send for it."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class ToolStep:
    area: str
    what: str
    # `@steps` of its statements.
    marks: tuple[str, ...]
    missing: str | None = None


NAMES = {"datagrip": "DataGrip", "dbeaver": "DBeaver", "metabase": "Metabase", "powerbi": "Power BI", "tableau": "Tableau"}

STEPS = {
    "datagrip": [
        ToolStep("connect", "start of a session", ("connect",)),
        ToolStep("introspection", "transactions, databases, schemas", ("transactions", "databases", "schemas")),
        ToolStep("introspection", "roles, tablespaces, time zones", ("server",)),
        ToolStep("introspection", "languages, extensions, access methods, casts", ("database",)),
        ToolStep("introspection", "a schema: tables, columns, indexes, constraints, functions, rules, comments, views", ("schema",)),
        ToolStep("queries", "rows of a table, page by page", ("data",)),
        ToolStep("changes", "rows without a key in the data editor", ("editor",)),
    ],
    "dbeaver": [
        ToolStep("connect", "start of a session", ("connect",)),
        ToolStep("introspection", "navigator: databases, schemas, types, tables, columns, indexes, constraints", ("navigator",)),
    ],
    "metabase": [
        ToolStep("connect", "start of a session", ("connect",)),
        ToolStep("introspection", "sync: tables, columns, keys, indexes", ("sync",)),
        ToolStep("queries", "privileges, questions, fingerprints", ("question",)),
    ],
    "powerbi": [
        ToolStep("connect", "Npgsql asks for all types, by queries of two of its versions", ("connect",)),
        ToolStep("connect", "a pooled connection is reset", ("pool",)),
        ToolStep("introspection", "navigator: tables, columns, keys, foreign keys", ("navigator",)),
        ToolStep("queries", "tables are loaded", ("load",)),
        ToolStep("queries", "DirectQuery: groups, joins, parameters, dates", ("direct",)),
    ],
    "tableau": [
        ToolStep("connect", "start of a session of psqlODBC", ("connect",)),
        ToolStep("introspection", "tables, columns, keys", ("schema",)),
        ToolStep("queries", "worksheets: levels of detail, dates, a cursor WITH HOLD", ("sheet",)),
        ToolStep("definitions", "probe for temporary tables", ("probe",)),
    ],
}
