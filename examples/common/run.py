"""`examples/run NAME`: generates, loads and refreshes an example, and says what to look at."""

import argparse
import pathlib
import shutil
import subprocess
import sys
import time

from common.dbt import DbtExample, is_project
from common.example import EXAMPLES, Example, names
from common.server import OwnServer


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="examples/run", description=__doc__)
    parser.add_argument("name", choices=names())
    parser.add_argument("--scale", type=float, default=1.0, help="how much data; 1 is some ten thousand rows")
    parser.add_argument("--days", type=int, help="how many days of data arrive; without it as many as the README's story has")
    parser.add_argument("--format", choices=["iceberg", "delta"], default="iceberg", help="of all tables")
    parser.add_argument("--server", metavar="CONNINFO",
                        help='a server that runs and reads files of this machine, as psql takes it: "host=127.0.0.1 port=5433 …"')
    parser.add_argument("--data", type=pathlib.Path, help="folder of the generated files and of the server's data")
    parser.add_argument("--stop", action="store_true", help="end when all is done, rather than serve it")
    return parser.parse_args()


def main() -> int:
    options = arguments()
    if not shutil.which("psql"):
        raise SystemExit("psql is missing: install the package postgresql-client")
    home = (options.data or EXAMPLES / ".data" / f"{options.name}-{options.format}").absolute()
    own = None if options.server else OwnServer(home / "auric")
    try:
        kind = DbtExample if is_project(options.name) else Example
        example = kind(options.name, home / "arrived", options.server or own.conninfo, options.format, options.scale)
        run(example, {"count": options.days} if options.days else {})
        print(f"\nLook around:  psql \"{example.conninfo}\"")
        print(f"Read on:      {(example.folder / 'README.md').relative_to(EXAMPLES.parent)}")
        if own and not options.stop:
            print("The server runs until you press Ctrl-C.", flush=True)
            own.process.wait()
    except KeyboardInterrupt:
        return 0
    except subprocess.CalledProcessError as failed:
        print(f"{failed.cmd[0]} ended with {failed.returncode} in {' '.join(failed.cmd[-2:])}", file=sys.stderr)
        return 1
    finally:
        if own:
            own.stop()
    return 0


def run(example: Example, generated: dict) -> None:
    shutil.rmtree(example.data, ignore_errors=True)
    example.data.mkdir(parents=True)
    timed("generate", lambda: example.generate(**generated))
    timed("set up", example.set_up)
    for batch in example.batches:
        timed(batch, lambda: example.run_batch(batch))
    print(flush=True)
    example.look()


def timed(what: str, action) -> None:
    start = time.monotonic()
    action()
    print(f"{what:<12} {time.monotonic() - start:6.1f} s", flush=True)


if __name__ == "__main__":
    sys.exit(main())
