"""A PostgreSQL server of our own for the tests, from the binaries of this machine."""

import os
import pwd
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PLACES = ("/usr/lib/postgresql", "/opt/homebrew/opt", "/usr/local/opt")
AS = ("-U", "tests", "-A", "trust", "-E", "UTF8", "--no-sync")
SETTINGS = "fsync=off", "full_page_writes=off", "listen_addresses="


def server_folder() -> Path | None:
    """Find the folder of `initdb` and `postgres`, of the newest version there is."""
    on_path = shutil.which("initdb")
    found = [Path(on_path)] if on_path else []
    for place in PLACES:
        found += Path(place).glob("*/bin/initdb")
    return max((file.resolve().parent for file in found), default=None, key=str)


@contextmanager
def postgres(binaries: Path, folder: Path) -> Iterator[str]:
    """Run a server that listens on a socket in a folder; give the URL of its first database."""
    user = account(folder)
    data = str(folder / "data")
    as_user = [] if user is None else ["runuser", "-u", user, "--"]
    make = [*as_user, str(binaries / "initdb"), "-D", data, *AS]
    subprocess.run(make, check=True, capture_output=True)
    options = " ".join([*(f"-c {each}" for each in SETTINGS), f"-k {folder}"])
    control = [*as_user, str(binaries / "pg_ctl"), "-D", data, "-w"]
    control += ["-o", options, "-l", str(folder / "log")]
    subprocess.run([*control, "start"], check=True, stdout=subprocess.DEVNULL)
    try:
        yield f"postgresql://tests@/postgres?host={folder}"
    finally:
        subprocess.run([*control, "-m", "immediate", "stop"], check=True, capture_output=True)


def account(folder: Path) -> str | None:
    """Give the folder to the account `postgres` if we are root, as the server refuses root."""
    if os.geteuid():
        return None
    shutil.chown(folder, "postgres", pwd.getpwnam("postgres").pw_gid)
    return "postgres"
