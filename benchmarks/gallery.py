"""How smooth a case of many cells is in a browser: first paint, all tiles, scrolling, decisions.

    python benchmarks/gallery.py PICTURES --cells 2000

The room is served from this process with the default bundle. Its cells have made-up readings, so
that only the pages are measured; their pictures are those of the folder. A frame of 16.7 ms is
one of 60 a second; each scrolls by 60 pixels, 3,600 a second, as a quick hand does.
"""

import argparse
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import uvicorn
from PIL import Image
from playwright.sync_api import Page, sync_playwright
from sqlalchemy.orm import Session

from marrowscope.store.case_model import name_model
from marrowscope.store.cases import Facts, make_case
from marrowscope.store.cells import NewCell, add_cells, keep_readings, waiting
from marrowscope.store.enums import Role
from marrowscope.store.users import make_user
from marrowscope.types import Prediction
from marrowscope.web.app import create_app
from marrowscope.web.settings import Settings
from marrowscope.web.state import Room

PASSWORD = "a marrow of words"  # noqa: S105 - of no real account
SCROLL = """async () => {
  const times = [];
  const goal = Math.min(24000, document.documentElement.scrollHeight - innerHeight);
  let last = await new Promise(requestAnimationFrame);
  for (let at = 0; at < goal; at += 60) {
    scrollTo(0, at);
    const now = await new Promise(requestAnimationFrame);
    times.push(now - last);
    last = now;
  }
  return times;
}"""
LISTED = """() => Math.max(...performance.getEntriesByType("resource")
  .filter((each) => each.name.includes("/cells?")).map((each) => each.duration))"""
DECIDE = """async (key) => {
  const tile = [...document.querySelectorAll(".tile")].find((each) => each.tabIndex === 0);
  tile.focus();
  const began = performance.now();
  tile.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true }));
  const moved = performance.now() - began;
  await new Promise(requestAnimationFrame);
  await new Promise(requestAnimationFrame);
  return [moved, performance.now() - began];
}"""


def fill(room: Room, pictures: list[Path], cells: int) -> str:
    """Make a case of cells with made-up readings; give its id."""
    random = np.random.default_rng(0)
    classes = room.bundle.classes
    with room.store.write() as session:
        who = make_user(session, "Ada", Role.ADMIN, PASSWORD)
        session.flush()
        case = make_case(session, who, Facts("Benchmark", um_per_px=0.086))
        add_cells(session, who, case, "1", [_cell(room, file) for file in pictures[:cells]])
        name_model(session, case, room.bundle)
        found = {}
        for cell in waiting(session, case, cells):
            chances = random.dirichlet(np.full(len(classes), 0.1))
            best = int(chances.argmax())
            found[cell.id] = Prediction(
                str(cell.id), classes[best], float(chances[best]), tuple(map(float, chances))
            )
        _keep(session, room, case, found)
        return case.public_id


def _keep(session: Session, room: Room, case: object, found: dict[int, Prediction]) -> None:
    keep_readings(session, case, room.bundle, found)  # type: ignore[arg-type]


def _cell(room: Room, file: Path) -> NewCell:
    with Image.open(file) as image:
        width, height = image.size
    return NewCell(file.name, room.blobs.put(file.read_bytes()), width, height)


@contextmanager
def opened(folder: Path) -> Iterator[tuple[Room, str]]:
    """Serve a room; give it and its address."""
    app = create_app(Settings(folder))
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        thread.join(0.05)
    try:
        yield app.state.room, f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()


def measure(page: Page, address: str) -> None:
    """Print what a case takes to open, to scroll and to decide in."""
    page.goto(address)
    page.wait_for_selector("[data-ready]")
    ready = page.evaluate("performance.now()")
    paint = page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime")
    listed = page.evaluate(LISTED)
    print(f"list of cells {listed:.0f} ms")
    print(f"first paint {paint:.0f} ms, all {page.locator('.tile').count()} tiles {ready:.0f} ms")
    for turn in ("first", "second", "third"):
        frames = np.array(page.evaluate(SCROLL))
        shares = np.percentile(frames, [50, 95, 99])
        late = int((frames > 50).sum())
        words = ", ".join(f"{share:.1f}" for share in shares)
        print(f"{turn} scroll, {len(frames)} frames: p50, p95, p99 {words} ms; {late} over 50 ms")
        page.evaluate("scrollTo(0, 0)")
    taken = np.array([page.evaluate(DECIDE, key) for key in "bpmznbpmznbpmznbpmzn"])
    moved, painted = np.percentile(taken, 95, axis=0)
    print(f"20 decisions by key: tile moved in {moved:.1f} ms, painted in {painted:.1f} ms (p95)")


def main() -> None:
    """Serve, fill, walk through."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pictures", type=Path)
    parser.add_argument("--cells", type=int, default=2000)
    parser.add_argument("--chromium", default="/usr/bin/chromium")
    given = parser.parse_args()
    pictures = sorted(given.pictures.rglob("*.jpg"))
    with tempfile.TemporaryDirectory() as folder, opened(Path(folder)) as (room, address):
        case = fill(room, pictures, given.cells)
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(
                executable_path=given.chromium, args=["--no-sandbox"]
            )
            page = browser.new_page(viewport={"width": 1280, "height": 900})
            page.goto(f"{address}/login")
            page.fill("[name=name]", "Ada")
            page.fill("[name=password]", PASSWORD)
            page.click("#login button")
            page.wait_for_url("**/cases")
            measure(page, f"{address}/cases/{case}")
            browser.close()


if __name__ == "__main__":
    main()
