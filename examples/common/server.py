"""A server for an example: one that runs already, or one of its own."""

import os
import pathlib
import re
import shutil
import subprocess
import threading

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
READY = re.compile(r'auric is ready: psql "([^"]+)"')


def binary() -> str:
    """AURIC_BIN, the newest build of this checkout, `auric` of the PATH, or one built now."""
    if chosen := os.environ.get("AURIC_BIN"):
        return chosen
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", REPOSITORY / "target"))
    built = [path for kind in ("release", "debug") if (path := target / kind / "auric").exists()]
    if built:
        return str(max(built, key=lambda path: path.stat().st_mtime))
    if found := shutil.which("auric"):
        return found
    print("building auric (once; it takes some minutes)", flush=True)
    subprocess.run(["cargo", "build", "--release"], cwd=REPOSITORY, check=True)
    return str(target / "release" / "auric")


class OwnServer:
    """`auric serve` over a data directory, on a free port of this machine."""

    def __init__(self, data_dir: pathlib.Path):
        self.process = subprocess.Popen(
            [binary(), "serve", "--data-dir", str(data_dir), "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0"],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        log = []
        for line in self.process.stdout:
            log.append(line)
            if match := READY.search(line):
                self.conninfo = match[1]
                break
        else:
            raise SystemExit("auric ended before it was ready:\n" + "".join(log))
        # Nobody reads its log from here on, and it must not wait for somebody.
        threading.Thread(target=self.process.stdout.read, daemon=True).start()

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
        self.process.wait(timeout=60)
