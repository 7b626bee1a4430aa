"""Examples that are dbt projects: a delivery is a folder of seeds, and `dbt build` loads, computes and tests them.

dbt comes as it is, with its Postgres adapter. The server is named by libpq's variables, and so is the format of
the tables that dbt makes: a setting of the session."""

import datetime
import os
import pathlib
import shutil
import subprocess
import sys
from dataclasses import dataclass

from common.example import EXAMPLES, Example

INSTALL = 'dbt is missing: pip install "dbt-core==1.11.*" "dbt-postgres==1.11.*" into a virtual environment, and start the example from there'


def is_project(name: str) -> bool:
    return (EXAMPLES / name / "dbt_project.yml").exists()


@dataclass
class DbtExample(Example):
    # Where dbt keeps its compiled SQL, documents and log.
    @property
    def target(self) -> pathlib.Path:
        return self.data.parent / "target"

    def set_up(self) -> None:
        super().set_up()
        self.dbt("debug")

    def run_batch(self, batch: str) -> None:
        self.dbt("build", *self.days(batch), batch=batch)

    def look(self) -> None:
        self.dbt("docs", "generate", batch=self.batches[-1])
        super().look()
        print("\nRun dbt yourself:  cd", self.folder)
        print("                  ", "export", *(f"{key}={value!r}" for key, value in self.settings(self.batches[-1]).items()))
        print("                   dbt build", *self.days(self.batches[-1]), flush=True)

    def days(self, batch: str) -> list[str]:
        """Bounds of the days that a delivery is about, for models that are computed day by day: its own and the one before."""
        day = datetime.date.fromisoformat(batch)
        first = max(datetime.date.fromisoformat(self.batches[0]), day - datetime.timedelta(days=1))
        return ["--event-time-start", str(first), "--event-time-end", str(day + datetime.timedelta(days=1))]

    def settings(self, batch: str | None = None) -> dict[str, str]:
        """What the project and its profile ask the environment for."""
        shown = subprocess.run(["psql", "--no-psqlrc", "--dbname", self.conninfo, "--command", r"\echo :HOST :PORT :USER :DBNAME"],
                               capture_output=True, text=True, check=True).stdout
        settings = dict(zip(["PGHOST", "PGPORT", "PGUSER", "PGDATABASE"], shown.split()))
        settings["PGOPTIONS"] = f"-c default_table_access_method={self.format}"
        if batch:
            settings["SHOP_DELIVERY"] = os.path.relpath(self.data / batch, self.folder)
        return settings

    def environment(self, batch: str | None = None) -> dict[str, str]:
        """What dbt is told by the environment: its settings, and where it finds and leaves its files."""
        return {**self.settings(batch), "DBT_PROFILES_DIR": str(self.folder), "DBT_PROJECT_DIR": str(self.folder),
                "DBT_TARGET_PATH": str(self.target), "DBT_LOG_PATH": str(self.target), "DBT_USE_COLORS": "false"}

    def dbt(self, *arguments: str, batch: str | None = None) -> str:
        """Runs dbt. What it says is shown only when it fails."""
        command = shutil.which("dbt", path=f"{pathlib.Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")
        if not command:
            raise SystemExit(INSTALL)
        done = subprocess.run([command, *arguments], cwd=self.folder, env=os.environ | self.environment(batch), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if done.returncode:
            print(done.stdout, file=sys.stderr)
            done.check_returncode()
        return done.stdout
