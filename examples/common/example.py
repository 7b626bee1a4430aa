"""What every example is: a generator, SQL for psql, and the order in which they run.

    <name>/generate.py    generate(folder, scale, …) → names of the batches, each a folder with what arrives
    <name>/setup/*.sql    once, in the order of their names
    <name>/daily/*.sql    for each batch, in the order of their names
    <name>/look.sql       at the end: what to look at

The SQL has the variables `:format` (`iceberg` or `delta`), `:iceberg` (for `\\if`), in daily/ also `:batch` and
`:folder`, the batch's folder, which is psql's working directory too. A statement that fails ends the run.

An example that has a `dbt_project.yml` instead of daily/ is what `dbt.py` says.
"""

import importlib.util
import os
import pathlib
import subprocess
import sys
from dataclasses import dataclass, field

EXAMPLES = pathlib.Path(__file__).resolve().parents[1]


def names() -> list[str]:
    return sorted(path.parent.name for path in EXAMPLES.glob("*/generate.py") if path.parent.name != "common")


@dataclass
class Example:
    name: str
    # Where the generated files go.
    data: pathlib.Path
    # How psql reaches the server.
    conninfo: str
    format: str = "iceberg"
    scale: float = 1.0
    batches: list[str] = field(default_factory=list)

    @property
    def folder(self) -> pathlib.Path:
        return EXAMPLES / self.name

    def generate(self, **options) -> None:
        """Writes the files of all batches. The same scale gives the same files, everywhere."""
        if str(EXAMPLES) not in sys.path:
            sys.path.insert(0, str(EXAMPLES))
        spec = importlib.util.spec_from_file_location(f"{self.name}_generate", self.folder / "generate.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        self.batches = module.generate(self.data, self.scale, **options)

    def set_up(self) -> None:
        for path in sorted((self.folder / "setup").glob("*.sql")):
            self.psql(path)

    def run_batch(self, batch: str) -> None:
        for path in sorted((self.folder / "daily").glob("*.sql")):
            self.psql(path, batch)

    def look(self) -> None:
        self.psql(self.folder / "look.sql")

    def psql(self, path: pathlib.Path, batch: str | None = None) -> None:
        variables = {"format": self.format, "iceberg": str(self.format == "iceberg").lower()}
        if batch:
            variables |= {"batch": batch, "folder": str(self.data / batch)}
        # Only what psql prints is for the reader; how many rows each statement changed is not.
        quiet = [] if path.name == "look.sql" else ["--quiet"]
        command = ["psql", "--no-psqlrc", *quiet, "--set", "ON_ERROR_STOP=1", "--dbname", self.conninfo,
                   *(f"--set={key}={value}" for key, value in variables.items()), "--file", str(path)]
        # Notices ("schema does not exist, skipping") would drown what matters.
        environment = {**os.environ, "PGOPTIONS": "-c client_min_messages=warning"}
        subprocess.run(command, cwd=self.data / batch if batch else self.data, env=environment, check=True)
