"""Where Auric's answers differ from PostgreSQL's, and why. Numbers are those of the statements in their files, from 0."""

# Types of columns: PostgreSQL's, ours.
TYPES: dict[tuple[str, str], str] = {
    ("int4", "int8"): "the numbers that _pg_expandarray counts with are bigints",
    ("_int4", "_oid"): "an array of OIDs that is cast to integer[] may still be called one of OIDs",
    ("oid", "int8"): "CASE with an OID in one branch and a number in another is a bigint",
    ("int8", "oid"): "an OID that is cast to bigint may still be called an OID",
    ("int4", "int2"): "columns like attinhcount and coninhcount are smallint since PostgreSQL 16; the answers are 15's",
    ("varchar", "text"): "an expression over a varchar is text",
    ("int2", "int4"): "Iceberg has no smallint: the column is stored as an integer",
    ("interval", "text"): "tables have no interval columns: setup.auric.sql makes it text",
    ("jsonb", "text"): "tables have no JSON columns: setup.auric.sql makes it text",
    ("json", "text"): "there is no type json: functions that make JSON give text",
    ("regclass", "text"): "a cast to regclass in a branch of a UNION or a CASE gives the name as text",
    ("_name", "_text"): "an array of names is an array of text",
    ("anyarray", "text"): "pg_attribute.attmissingval, always null, is text",
}

# Statements that are refused.
REFUSED: dict[str, dict[int, str]] = {
}

# Columns with other names.
NAMES: dict[str, dict[int, str]] = {
    "dbeaver": {
        8: "pg_database has daticurules since PostgreSQL 16; the answers are 15's",
        18: "the columns of pg_attribute are in PostgreSQL 16's order; the answers are 15's",
    },
    "datagrip": {25: "the common columns of a NATURAL JOIN stay where they are; PostgreSQL puts them first"},
}

# Single statements whose types differ for a reason of their own.
TYPES_OF: dict[str, dict[int, str]] = {}
