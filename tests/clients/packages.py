"""Clients that do not come from PyPI: Debian packages and npm modules, installed where they are missing and kept between runs."""

import fcntl
import os
import pathlib
import shutil
import subprocess
import zlib

CACHE = pathlib.Path(os.environ.get("XDG_CACHE_HOME", pathlib.Path.home() / ".cache")) / "auric"


def debian(*packages: str):
    """Installs Debian packages, as tests/run does with psql."""
    query = subprocess.run(["dpkg-query", "-W", "-f", "${db:Status-Abbrev}\n", *packages], capture_output=True, text=True)
    states = query.stdout.split()
    if query.returncode == 0 and len(states) == len(packages) and set(states) == {"ii"}:
        return
    sudo = [] if os.geteuid() == 0 else ["sudo"]
    subprocess.run([*sudo, "apt-get", "update", "-q"], check=True, stdout=subprocess.DEVNULL)
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    subprocess.run([*sudo, "apt-get", "install", "-qy", "--no-install-recommends", *packages], check=True, stdout=subprocess.DEVNULL, env=environment)


def npm(folder: pathlib.Path) -> pathlib.Path:
    """A folder whose `node_modules` are those that the folder's package-lock.json pins."""
    if not shutil.which("npm"):
        debian("nodejs", "npm")
    wanted = b"".join((folder / name).read_bytes() for name in ("package.json", "package-lock.json"))
    kept = CACHE / f"npm-{zlib.crc32(wanted):08x}"
    CACHE.mkdir(parents=True, exist_ok=True)
    with open(CACHE / "npm.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (kept / "complete").exists():
            shutil.rmtree(kept, ignore_errors=True)
            kept.mkdir()
            for name in ("package.json", "package-lock.json"):
                shutil.copy(folder / name, kept)
            subprocess.run(["npm", "ci", "--silent", "--no-audit", "--no-fund"], cwd=kept, check=True)
            (kept / "complete").touch()
    return kept


def node(folder: pathlib.Path, script: str, server, schema: str) -> list[str]:
    """Lines that a program of the folder prints about the server, with the folder's modules."""
    modules = npm(folder)
    ran = subprocess.run(["node", str(folder / script), server.host, str(server.port), server.user, server.database, schema],
                         capture_output=True, text=True, timeout=240, env={**os.environ, "NODE_PATH": str(modules / "node_modules")})
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout.splitlines()
