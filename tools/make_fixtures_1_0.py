"""Write tests/fixtures_1_0: what marrowscope 1.0.0 leaves on a disk, and what it says of it.

It speaks to 1.0.0 by its commands and its REST interface alone, so it does not change with the
package. From the repository root, with `src` of a checkout of 1.0.0 (commit 962f39e) first:

    git worktree add --detach ../marrowscope-1.0.0 962f39e
    PYTHONPATH=../marrowscope-1.0.0/src python tools/make_fixtures_1_0.py

Nothing needs to be made again: the fixtures are kept as they are, so that each later release is
tested against what 1.0.0 really wrote.
"""

import io
import json
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import torch
from transformers import Dinov2Config, Dinov2Model

FOLDER = Path("tests/fixtures_1_0")
SAMPLES = Path("samples")
BUNDLE, CASE, KEYS, REPORT, ROOM, RUN, SPLIT = (
    FOLDER / name for name in ("bundle", "case", "keys", "report", "room", "run", "split")
)
PASSWORD = "words of a marrow"  # noqa: S105 - of no real account
ROLES = {"root": "admin", "ada": "reviewer", "ben": "reviewer", "rita": "reader"}
SETTINGS = {
    "min_images": "9",
    "size": "56",
    "unfreeze_blocks": "2",
    "learning_rate": "3e-3",
    "head_learning_rate": "1e-2",
    "average": "0",
    "patience": "40",
    "precision": "fp32",
    "log": "none",
}
"""Settings of a training that takes half a minute and tells some classes apart."""
CASE_TOML = """id = "1-0"
date = 2026-03-02
material = "bone marrow aspirate"
stain = "Pappenheim"
um_per_px = 0.086

[[slides]]
name = "A"
cells = ["../../../samples/cells/mll/BLA", "../../../samples/cells/mll/NGS"]

[[slides]]
name = "B"
cells = "../../../samples/cells/mll/LYT"
"""
REVIEWS = """path,label,reviewer,time
../../../samples/cells/mll/BLA/BLA_00092.jpg,BLA,ada,2026-03-03T10:12:00+01:00
../../../samples/cells/mll/BLA/BLA_00149.jpg,MYB,ada,2026-03-03T10:13:00+01:00
../../../samples/cells/mll/BLA/BLA_00149.jpg,PMO,ben,2026-03-04T09:00:00+01:00
../../../samples/cells/mll/LYT/LYT_00149.jpg,PLM,ada,2026-03-03T10:14:00+01:00
"""


def marrowscope(*arguments: str | Path) -> str:
    """Run a command; give what it prints. Exit code 3 says that some cells were left out."""
    command = [sys.executable, "-m", "marrowscope", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode not in {0, 3}:
        raise SystemExit(f"{' '.join(command)}\n{done.stdout}{done.stderr}")
    return done.stdout


def write_json(name: str, answer: object) -> None:
    text = json.dumps(answer, ensure_ascii=False, separators=(",", ":")) + "\n"
    (FOLDER / name).write_text(text, encoding="utf-8")


def make_network(folder: Path) -> None:
    """Save a DINOv2 with two narrow blocks and random weights."""
    torch.manual_seed(0)
    config = Dinov2Config(
        hidden_size=16, num_hidden_layers=2, num_attention_heads=2, image_size=56, patch_size=14
    )
    Dinov2Model(config).save_pretrained(folder)


def make_keys() -> None:
    KEYS.mkdir()
    private, public = str(KEYS / "private.pem"), str(KEYS / "public.pem")
    openssl = shutil.which("openssl") or "openssl"
    make = [openssl, "genpkey", "-algorithm", "ed25519", "-out", private]
    write_public = [openssl, "pkey", "-in", private, "-pubout", "-out", public]
    for command in (make, write_public):
        subprocess.run(command, check=True)  # noqa: S603


def make_bundle() -> None:
    """Split, train, export, evaluate and sign; then classify."""
    data = SAMPLES / "cells.csv"
    network = Path("network")
    make_network(network)
    split = marrowscope("data", "split", data, "--min-stratum", "10", "--output", SPLIT, "--json")
    write_json("split.json", json.loads(split))
    settings = [part for pair in SETTINGS.items() for part in ("--set", "=".join(pair))]
    training = ("--data", data, "--split", SPLIT, "--model", network, "--epochs", "40")
    marrowscope(
        "train", *training, "--batch-size", "20", "--threads", "1", *settings, "--output", RUN
    )
    shutil.rmtree(RUN / "checkpoints")
    shutil.rmtree(network)
    marrowscope("export", RUN, "--data", data, "--output", BUNDLE)
    figures = FOLDER / "figures"
    marrowscope("evaluate", BUNDLE, "--data", data, "--split", SPLIT, "--output", figures)
    write_json("metrics.json", json.loads((figures / "metrics.json").read_text(encoding="utf-8")))
    shutil.rmtree(figures)
    make_keys()
    marrowscope("bundle", "sign", BUNDLE, "--key", KEYS / "private.pem")
    (KEYS / "private.pem").unlink()
    results = FOLDER / "results"
    classified = marrowscope(
        *("classify", SAMPLES / "cells/mll/BLA", SAMPLES / "cells/pbc/SNE", "--um-per-px", "0.086"),
        *("--bundle", BUNDLE, "--engine", "onnxruntime", "--threads", "1", "--coverage", "0.8"),
        *("--keep-novel", "--output", results, "--json"),
    )
    write_json("classify.json", json.loads(classified))
    shutil.copy(results / "predictions.csv", FOLDER / "classify-predictions.csv")
    shutil.rmtree(results)


def make_case() -> None:
    """Write a case and its report."""
    CASE.mkdir()
    (CASE / "case.toml").write_text(CASE_TOML, encoding="utf-8")
    (CASE / "reviews.csv").write_text(REVIEWS, encoding="utf-8")
    printed = marrowscope(
        *("report", CASE, "--bundle", BUNDLE, "--engine", "onnxruntime", "--threads", "1"),
        *("--keep-novel", "--output", REPORT, "--json"),
    )
    write_json("report.json", json.loads(printed))
    for name in ("report.html", "report.pdf", "fhir.json"):
        (REPORT / name).unlink()
    agreed = marrowscope(
        "agree", REPORT, REPORT, "--reader-a", "machine", "--reader-b", "ada", "--json"
    )
    write_json("agree.json", json.loads(agreed))


class Client:
    """A user of the server, by a token."""

    def __init__(self, address: str, token: str) -> None:
        headers = {"Authorization": f"Bearer {token}"}
        self.http = httpx2.Client(base_url=f"{address}/api/v1", headers=headers, timeout=600)

    def ask(self, method: str, path: str, **content: Any) -> Any:
        answer = self.http.request(method, path, **content)
        if answer.is_error:
            raise SystemExit(f"{method} {path}: {answer.status_code} {answer.text}")
        return answer.json() if answer.content else None

    def get(self, path: str) -> Any:
        return self.ask("GET", path)

    def post(self, path: str, **values: Any) -> Any:
        return self.ask("POST", path, json=values)

    def add_case(self, title: str, files: Sequence[Path], kind: str = "files") -> str:
        """Make a case of pictures and wait until they were read; give its id."""
        case = str(self.post("/cases", title=title, um_per_px=0.086, stain="Pappenheim")["id"])
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            for file in files:
                archive.write(file, file.name)
        upload = {"files": ("pictures.zip", buffer.getvalue())}
        self.ask("POST", f"/cases/{case}/{kind}", files=upload, data={"slide": "A"})
        self.wait(case)
        return case

    def wait(self, case: str) -> None:
        while any(job["state"] in {"queued", "running"} for job in self.get(f"/cases/{case}/jobs")):
            time.sleep(0.1)

    def cells(self, case: str) -> list[int]:
        return [row["id"] for row in self.get(f"/cases/{case}/cells?limit=2000")["rows"]]

    def decide(self, case: str, label: str, *cells: int) -> None:
        self.post(f"/cases/{case}/decisions", label=label, cells=list(cells))

    def finish(self, case: str, *steps: str) -> None:
        for step in steps:
            version = self.get(f"/cases/{case}")["version"]
            self.post(f"/cases/{case}/{step}", version=version)


@contextmanager
def serve() -> Iterator[str]:
    """Run the server at a port of its own; give its address."""
    command = [
        *(sys.executable, "-m", "marrowscope", "serve", "--room", str(ROOM)),
        *("--bundle", str(BUNDLE), "--port", "0", "--threads", "1", "--engine", "onnxruntime"),
    ]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)  # noqa: S603
    try:
        assert server.stdout is not None  # noqa: S101 - it is a pipe
        for line in server.stdout:
            if "http://" in line:
                yield "http://" + line.split("http://")[1].split()[0].rstrip("/,.")
                break
    finally:
        server.terminate()
        server.wait()


def make_users() -> dict[str, str]:
    """Add a user of each role; give their tokens. Ada has a password too."""
    tokens = {}
    for name, role in ROLES.items():
        printed = marrowscope("user", "add", name, "--role", role, "--room", ROOM)
        if name == "ada":
            tokens["link"] = printed.split("/welcome#")[1].split()[0]
        tokens[name] = marrowscope("user", "token", name, "--name", "kept", "--room", ROOM).strip()
    return tokens


def make_room() -> None:
    """Fill a workspace with cases: signed, read blind, of a field, archived, and one that waits."""
    tokens = make_users()
    folders = (SAMPLES / "cells/pbc").iterdir()
    cells = sorted((min(folder.iterdir(), key=file_size) for folder in folders), key=file_size)
    field = min((SAMPLES / "fields").glob("*.jpg"), key=file_size)
    with serve() as address:
        ada, ben, root = (Client(address, tokens[name]) for name in ("ada", "ben", "root"))
        ada.post("/links/use", secret=tokens["link"], password=PASSWORD)
        cases = [
            signed(ada, cells[:6]),
            blind(ada, ben, cells[2:6]),
            on_field(ada, field),
            archived(ada, cells[:2]),
        ]
        answers = {path: root.get(path) for path in paths(root, cases)}
    folder = Path("waiting")
    folder.mkdir()
    for file in cells[4:6]:
        shutil.copy(file, folder)
    marrowscope("case", "add", folder, "--user", "ada", "--um-per-px", "0.086", "--room", ROOM)
    shutil.rmtree(folder)
    write_json("answers.json", answers)
    log = FOLDER / "audit.jsonl"
    marrowscope("audit-log", "export", "--room", ROOM, "--output", log)
    reviewed = FOLDER / "reviewed.csv"
    marrowscope("case", "export", "--room", ROOM, "--output", reviewed)
    text = reviewed.read_text(encoding="utf-8").replace(str(ROOM.resolve()), "room")
    reviewed.write_text(text, encoding="utf-8")
    write_json("login.json", {"name": "ada", "password": PASSWORD, "token": tokens["root"]})
    shutil.rmtree(ROOM / "thumbnails")  # drawn again where they lack


def file_size(file: Path) -> int:
    return file.stat().st_size


def signed(ada: Client, files: Sequence[Path]) -> str:
    """Decide, take back, sign, reopen with a reason, decide, sign again."""
    case = ada.add_case("signed", files)
    first, second, third, *_ = ada.cells(case)
    ada.decide(case, "BLA", first, second)
    ada.decide(case, "PMO", third)
    ada.post(f"/cases/{case}/undo")
    ada.finish(case, "review", "sign")
    ada.post(f"/cases/{case}/reopen", reason="one cell was forgotten")
    ada.decide(case, "MYB", third)
    ada.finish(case, "review", "sign")
    return case


def blind(ada: Client, ben: Client, files: Sequence[Path]) -> str:
    """Let two people read a case blind."""
    case = ada.add_case("blind", files)
    ada.ask("PUT", f"/cases/{case}/members/ben")
    cells = ada.cells(case)
    for reader, labels in ((ada, ("BLA", "BLA", "EOS", "PMO")), (ben, ("BLA", "MYB", "EOS"))):
        reader.post(f"/cases/{case}/readings/open")
        for cell, label in zip(cells, labels, strict=False):
            reader.decide(case, label, cell)
        reader.post(f"/cases/{case}/readings/close")
    return case


def on_field(ada: Client, field: Path) -> str:
    """Let cells be found on a field; remove one, draw another."""
    case = ada.add_case("field", [field], "fields")
    number = ada.get(f"/cases/{case}/fields")[0]["id"]
    ada.post(f"/cases/{case}/cells/{ada.cells(case)[0]}/remove")
    ada.post(f"/cases/{case}/fields/{number}/cells", x0=10, y0=10, x1=60, y1=58)
    ada.wait(case)
    return case


def archived(ada: Client, files: Sequence[Path]) -> str:
    case = ada.add_case("archived", files)
    ada.post(f"/cases/{case}/archive")
    return case


def paths(root: Client, cases: Sequence[str]) -> Iterator[str]:
    """Name the addresses whose answers are kept."""
    yield from ("/cases?archived=true", "/users", "/users/names", "/classes", "/queue")
    for case in cases:
        start = f"/cases/{case}"
        parts = ("/differential", "/differential/adjusted", "/members", "/jobs", "/readings")
        yield from (start + part for part in ("", "/cells", "/fields", *parts))
        if root.get(start)["seal"]:
            yield f"{start}/seal"
        for reading in [root.get(f"{start}/readings")]:
            if len(reading) == 2:
                first, second = (row["who"] for row in reading)
                yield f"{start}/agreement?first={first}&other={second}"
        yield from (f"{start}/cells/{cell}" for cell in root.cells(case)[:3])
        yield from (f"{start}/fields/{field['id']}" for field in root.get(f"{start}/fields"))


if __name__ == "__main__":
    if FOLDER.exists() and any(FOLDER.iterdir()):
        raise SystemExit(f"{FOLDER} is there and stays as it is; remove it first")
    FOLDER.mkdir(exist_ok=True)
    make_bundle()
    make_case()
    make_room()
