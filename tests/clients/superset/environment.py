"""Superset's own virtual environment, and its own database with an administrator: made once, kept between runs.

`python tests/clients/superset/environment.py` makes them (`tests/run` does) and prints where they are.
"""

import os
import pathlib
import shutil
import subprocess
import sys
import zlib

FOLDER = pathlib.Path(__file__).resolve().parent
USER, PASSWORD = "admin", "admin"


class Environment:
    def __init__(self, folder: pathlib.Path):
        self.folder = folder
        # An initialised database, to be copied.
        self.template = folder / "superset.db"

    def program(self, name: str) -> str:
        return str(self.folder / "bin" / name)

    def variables(self, database: pathlib.Path) -> dict[str, str]:
        """Variables of Superset's processes that keep their own data in `database`."""
        return {**os.environ, "SUPERSET_CONFIG_PATH": str(FOLDER / "superset_config.py"), "SUPERSET_HOME": str(database.parent),
                "AURIC_TEST_SUPERSET_DATABASE": str(database), "FLASK_APP": "superset.app:create_app()"}


def environment() -> Environment:
    """The environment of these requirements and this Python; makes it where there is none (minutes)."""
    wanted = sys.version + (FOLDER / "requirements.txt").read_text()
    cache = pathlib.Path(os.environ.get("XDG_CACHE_HOME", pathlib.Path.home() / ".cache")) / "auric"
    found = Environment(cache / f"venv-superset-{zlib.crc32(wanted.encode())}")
    complete = found.folder / "complete"
    if not complete.exists():
        shutil.rmtree(found.folder, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", str(found.folder)], check=True)
        subprocess.run([found.program("pip"), "install", "--quiet", "--disable-pip-version-check", "-r", str(FOLDER / "requirements.txt")], check=True)
        initialise(found)
        complete.touch()
    return found


def initialise(found: Environment) -> None:
    administrator = ["fab", "create-admin", "--username", USER, "--password", PASSWORD, "--firstname", "a", "--lastname", "b", "--email", "a@example.org"]
    for arguments in (["db", "upgrade"], administrator, ["init"]):
        run = subprocess.run([found.program("superset"), *arguments], env=found.variables(found.template), capture_output=True, text=True)
        if run.returncode != 0:
            raise RuntimeError(f"superset {arguments[0]}:\n{run.stdout}{run.stderr}")


if __name__ == "__main__":
    print(environment().folder)
