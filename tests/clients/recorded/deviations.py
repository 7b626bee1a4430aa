"""Where Auric's answers differ from PostgreSQL's, and why. Numbers are those of the statements in their files, from 0."""

# Types of columns: PostgreSQL's, ours.
TYPES: dict[tuple[str, str], str] = {}

# Statements that are refused.
REFUSED: dict[str, dict[int, str]] = {}

# Columns with other names.
NAMES: dict[str, dict[int, str]] = {}

# Single statements whose types differ for a reason of their own.
TYPES_OF: dict[str, dict[int, str]] = {}
