"""Load: clients that look at and review a case while another one of 2,000 cells is being read.

Runs a real server on loopback with the default bundle; prints the times of pages and reviews.
"""

import argparse
import json
import os
import random
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from collections import defaultdict
from pathlib import Path

from httpx2 import Client

API = "/api/v1"
PASSWORD = "a marrow of words"  # noqa: S105 - of no real account
SAMPLES = Path(__file__).parents[1] / "samples" / "cells"
LABELS = ("BLA", "LYT", "MYB", "NGS", "EBO")


def pack(cells: int, tail: bytes) -> bytes:
    """Zip so many sample cells, each with other bytes at its end."""
    pictures = [file.read_bytes() for file in sorted(SAMPLES.rglob("*.jpg"))]
    with tempfile.TemporaryFile() as buffer:
        with zipfile.ZipFile(buffer, "w") as archive:
            for number in range(cells):
                content = pictures[number % len(pictures)] + tail + number.to_bytes(4, "big")
                archive.writestr(f"{number}.jpg", content)
        buffer.seek(0)
        return buffer.read()


def add_case(client: Client, title: str, cells: int) -> str:
    case = client.post(f"{API}/cases", json={"title": title, "um_per_px": 0.086}).json()["id"]
    sent = [("files", ("cells.zip", pack(cells, title.encode())))]
    began = time.perf_counter()
    answer = client.post(f"{API}/cases/{case}/files", files=sent)
    print(f"{title}: {answer.json()['new']} cells taken in {time.perf_counter() - began:.1f} s")
    return str(case)


def review(
    address: str, headers: dict[str, str], case: str, until: float, times: dict[str, list[float]]
) -> None:
    """Look at cells, give one a class, and look at the count, again and again.

    The clients come within three seconds: 50 that come at once are no load but a queue.
    """
    with Client(base_url=address, headers=headers, timeout=60) as client:
        chosen = random.Random(threading.get_ident())
        time.sleep(chosen.uniform(0, 3))
        rows = client.get(f"{API}/cases/{case}/cells", params={"limit": 60}).json()["rows"]
        while time.monotonic() < until:
            cell = chosen.choice(rows)["id"]
            body = {"cells": [cell], "label": chosen.choice(LABELS)}
            calls = (
                ("page of cells", "GET", f"/cases/{case}/cells?order=doubtful&limit=60", None),
                ("thumbnail", "GET", f"/cases/{case}/cells/{cell}/thumbnail", None),
                ("cell", "GET", f"/cases/{case}/cells/{cell}", None),
                ("decision", "POST", f"/cases/{case}/decisions", body),
                ("differential", "GET", f"/cases/{case}/differential", None),
            )
            for name, method, path, sent in calls:
                began = time.perf_counter()
                answer = client.request(method, API + path, json=sent)
                times[name if answer.is_success else f"ERROR {answer.status_code}"].append(
                    time.perf_counter() - began
                )
                time.sleep(chosen.uniform(0.1, 0.9))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--cells", type=int, default=2000)
    parser.add_argument("--reviewed", type=int, default=300)
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "marrowscope", "serve", "--port", "0", "--room", folder]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ) as server:
            try:
                figures = measure(server, wanted)
            finally:
                server.terminate()
    print(json.dumps(figures, indent=2))


def measure(server: "subprocess.Popen[str]", wanted: argparse.Namespace) -> dict[str, object]:
    assert server.stdout is not None  # noqa: S101 - it was asked for
    found = re.search(r"http://\S+", server.stdout.readline())
    secret = server.stdout.readline().rpartition("#")[2].strip()
    assert found is not None  # noqa: S101 - it prints its address first
    with Client(base_url=found[0], timeout=600) as client:
        use = {"secret": secret, "password": PASSWORD, "name": "Root"}
        client.headers["X-CSRF-Token"] = client.post(f"{API}/links/use", json=use).json()["csrf"]
        token = client.post(f"{API}/tokens", json={"name": "load"}).json()["secret"]
        case = add_case(client, "reviewed", wanted.reviewed)
        while client.get(f"{API}/cases/{case}").json()["job"]["state"] != "done":
            time.sleep(1)
        reading = add_case(client, "being read", wanted.cells)
        times: dict[str, list[float]] = defaultdict(list)
        headers = {"Authorization": f"Bearer {token}"}
        until = time.monotonic() + wanted.seconds
        threads = [
            threading.Thread(target=review, args=(found[0], headers, case, until, times))
            for _ in range(wanted.clients)
        ]
        for thread in threads:
            thread.start()
        for each in threads:
            each.join()
        read = client.get(f"{API}/cases/{reading}").json()["progress"]["read"]
    figures: dict[str, object] = {name: in_figures(each) for name, each in sorted(times.items())}
    return figures | {"cells read meanwhile": read}


def in_figures(times: list[float]) -> dict[str, float]:
    cuts = statistics.quantiles(times, n=20) if len(times) > 1 else times * 19
    return {
        "calls": len(times),
        "median_ms": round(1000 * statistics.median(times)),
        "p95_ms": round(1000 * cuts[18]),
    }


if __name__ == "__main__":
    main()
