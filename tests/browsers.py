"""A reading room served on a real port, and a real browser to walk through it."""

import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from axe_playwright_python.sync_playwright import Axe
from fastapi import FastAPI
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright
from web_fixtures import PASSWORD, settle

from marrowscope.model.bundle import Bundle
from marrowscope.web.app import create_app
from marrowscope.web.settings import Settings
from marrowscope.web.state import Room

PATIENCE_MS = 300_000
"""How long pages are waited for: a busy machine is slow, not wrong."""
expect.set_options(timeout=PATIENCE_MS)
NAMES = "chromium", "chromium-browser", "google-chrome"
WIDE, NARROW = (1280, 900), (390, 844)
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]


class Served:
    """A room that answers at an address."""

    def __init__(self, app: FastAPI, address: str) -> None:
        self.room: Room = app.state.room
        self.address = address


@contextmanager
def served(folder: Path, bundle: Bundle) -> Iterator[Served]:
    """Serve a room with its people on a free port."""
    app = create_app(Settings(folder / "room", bundle=str(bundle.folder)))
    settle(app)
    config = uvicorn.Config(app, port=0, log_level="warning", access_log=False)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        thread.join(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield Served(app, f"http://127.0.0.1:{port}")
    finally:
        server.should_exit = True
        thread.join()


def chromium() -> str:
    """Find this machine's browser; without one, the test is left out and says so."""
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        pytest.skip("no Chromium on this machine (Debian: apt-get install chromium)")
    return found


@contextmanager
def a_browser() -> Iterator[Browser]:
    """Run a browser without a window."""
    program = chromium()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        browser.close()


def new_context(browser: Browser, **options: Any) -> BrowserContext:
    """Open a fresh session of the browser, as patient as `expect`."""
    context = browser.new_context(**options)
    context.set_default_timeout(PATIENCE_MS)
    return context


def log_in(page: Page, served: Served, name: str) -> None:
    """Log in by the page, as a person does."""
    page.goto(f"{served.address}/login")
    page.fill("[name=name]", name)
    page.fill("[name=password]", PASSWORD)
    page.click("#login button")
    page.wait_for_url("**/cases")


def faults(page: Page) -> list[str]:
    """Name what axe finds against WCAG 2.1 AA on a page."""
    options = {"runOnly": {"type": "tag", "values": RULES}}
    found = Axe().run(page, options=options).response["violations"]
    return [f"{each['id']}: {node['html']}" for each in found for node in each["nodes"]]
