"""The pages of the reading room in a real browser: from a zip of cells to a signed report."""

import base64
import io
import re
import shutil
import subprocess
import zipfile
from pathlib import Path
from typing import Literal

import pytest
from browsers import NARROW, WIDE, Served, faults, log_in, new_context
from conftest import SAMPLES
from playwright.sync_api import Browser, Page, expect

from marrowscope.taxonomy import CLASSES
from marrowscope.web.shortcuts import KEYS

STATIC = Path(__file__).parents[1] / "src/marrowscope/web/static"
PICTURES = sorted((SAMPLES / "cells" / "mll").rglob("*.jpg"))
DROP = """([name, text]) => {
  const bytes = Uint8Array.from(atob(text), (each) => each.charCodeAt(0));
  const dataTransfer = new DataTransfer();
  dataTransfer.items.add(new File([bytes], name));
  document.dispatchEvent(new DragEvent("drop", { dataTransfer, bubbles: true, cancelable: true }));
}"""


def zip_of(number: int) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for file in PICTURES[:: len(PICTURES) // number][:number]:
            archive.write(file, f"cells/{file.name}")
    return buffer.getvalue()


def drop_case(page: Page, title: str = "A-1", cells: int = 24) -> str:
    """Drop a zip onto the list of cases and wait until its cells were read; give the address."""
    page.evaluate(DROP, ["cells.zip", base64.b64encode(zip_of(cells)).decode()])
    page.fill("#facts [name=title]", title)
    page.fill("[name=um_per_px]", "0.086")
    page.click("#facts button.main")
    page.wait_for_url("**/cases/*")
    page.wait_for_selector("[data-ready]")
    expect(page.locator(".tile")).to_have_count(cells)
    expect(page.locator("#reading")).to_be_hidden()
    return page.url


def cells_of(page: Page, code: str) -> int:
    return int(page.locator(f"tr[data-code={code}] .cells").inner_text())


def decide_first(page: Page, code: str) -> str:
    """Give the first cell of the gallery a class by its key; give the cell's number."""
    tile = page.locator(".tile:visible").first
    number = tile.get_attribute("data-id")
    tile.focus()
    page.keyboard.press(KEYS[code])
    expect(page.locator(f"[data-code={code}] .tile[data-id='{number}'].decided")).to_have_count(1)
    return str(number)


def test_from_a_dropped_zip_to_a_signed_report(room: Served, page: Page, browser: Browser) -> None:
    log_in(page, room, "Ada")
    address = drop_case(page)
    assert cells_of(page, "HAC") == 0

    decide_first(page, "HAC")
    expect(page.locator("tr[data-code=HAC] .cells")).to_have_text("1")
    expect(page.locator("#counted")).to_contain_text("1 decided")
    page.keyboard.press("u")
    expect(page.locator("tr[data-code=HAC]")).to_be_hidden()
    expect(page.locator("#counted")).to_contain_text("0 decided")

    decide_first(page, "HAC")
    expect(page.locator("#counted")).to_contain_text("1 decided")
    page.click("#step")
    page.click("#confirm-do")
    expect(page.locator("#state")).to_have_text("reviewed")
    expect(page.locator("#confirm")).to_be_hidden()
    page.click("#step")
    page.click("#confirm-do")
    expect(page.locator("#frozen")).to_contain_text("Signed by Ada")
    expect(page.locator("#confirm")).to_be_hidden()
    page.locator(".tile:visible").first.focus()
    page.keyboard.press(KEYS["MYB"])
    expect(page.locator("#said")).to_have_text("The case is signed; reopen it to change it.")

    page.click("#reports summary")
    with page.expect_download() as download:
        page.click("text=PDF")
    assert download.value.path().read_bytes().startswith(b"%PDF-")

    other = new_context(browser).new_page()
    log_in(other, room, "Ben")
    expect(other.locator(".case-row")).to_have_count(0)
    answer = other.goto(address)
    assert answer is not None
    assert answer.status == 404
    expect(other.locator("main")).to_contain_text("there is no case")
    other.context.close()


def test_nobody_sees_a_page_without_a_login(room: Served, page: Page) -> None:
    for path in ("/", "/cases", "/cases/1234", "/users", "/audit", "/account"):
        page.goto(room.address + path)
        assert page.url.startswith(f"{room.address}/login")


def test_pages_of_administrators_are_refused_to_others(room: Served, page: Page) -> None:
    log_in(page, room, "Ada")
    for path in ("/users", "/audit"):
        answer = page.goto(room.address + path)
        assert answer is not None
        assert answer.status == 403
        expect(page.locator("main")).to_contain_text("needs an admin")
        expect(page.locator(f"header a[href='{path}']")).to_have_count(0)


def test_many_cells_are_selected_and_decided_by_keys(room: Served, page: Page) -> None:
    log_in(page, room, "Ada")
    drop_case(page)
    page.locator(".tile:visible").first.focus()
    page.keyboard.press("Shift+ArrowRight")
    page.keyboard.press("Shift+ArrowRight")
    expect(page.locator("#chosen-count")).to_have_text("3 selected")
    page.keyboard.press(KEYS["HAC"])
    expect(page.locator("tr[data-code=HAC] .cells")).to_have_text("3")
    expect(page.locator("#chosen")).to_be_hidden()
    page.keyboard.press("u")
    expect(page.locator("#counted")).to_contain_text("0 decided")


def test_the_large_view_is_worked_by_keys(room: Served, page: Page) -> None:
    log_in(page, room, "Ada")
    drop_case(page)
    page.locator(".tile:visible").first.focus()
    page.keyboard.press("Enter")
    expect(page.locator("#large")).to_be_visible()
    expect(page.locator("#large-facts")).to_contain_text("1 of 24")
    page.keyboard.press("ArrowRight")
    expect(page.locator("#large-facts")).to_contain_text("2 of 24")
    expect(page.locator("#chances .track").first).to_be_visible()
    expect(page.locator("#heats button").first).to_be_visible()
    page.keyboard.press("1")
    expect(page.locator("#heat")).to_be_visible()
    known = page.locator("#similar button")
    expect(known).to_have_count(5)
    expect(page.locator("#similar .credit")).to_contain_text("sample cells")
    for _ in range(60):
        page.keyboard.press("Tab")
        if known.first.evaluate("button => button === document.activeElement"):
            break
    page.keyboard.press("Enter")
    expect(page.locator("#beside")).to_contain_text("Known cell: ")
    assert page.locator("#beside img").evaluate("image => image.decode().then(() => true)")
    assert known.first.get_attribute("aria-pressed") == "true"
    page.keyboard.press("Space")
    expect(page.locator("#beside")).to_be_hidden()
    page.keyboard.press("+")
    transform = page.locator("#picture").evaluate("image => image.style.transform")
    assert "scale(1.4)" in transform
    page.keyboard.press(KEYS["HAC"])
    expect(page.locator("#large-facts")).to_contain_text("3 of 24")
    page.keyboard.press("u")
    expect(page.locator("#large-facts")).to_contain_text("2 of 24")
    expect(page.locator("#past")).to_contain_text("took back HAC")
    page.keyboard.press("Escape")
    expect(page.locator("#large")).to_be_hidden()


def test_a_cell_is_dragged_to_a_class(room: Served, page: Page) -> None:
    log_in(page, room, "Ada")
    drop_case(page)
    goal = page.locator("#rows tr:visible").nth(1)
    code = goal.get_attribute("data-code")
    tile = page.locator(f".tile:visible:not([data-code={code}] .tile)").first
    number = tile.get_attribute("data-id")
    tile.drag_to(goal)
    expect(page.locator(f"[data-code={code}] .tile[data-id='{number}'].decided")).to_have_count(1)


def test_markup_in_a_title_stays_text(room: Served, page: Page) -> None:
    title = "<img src=x onerror=\"document.title='owned'\">' OR 1=1 --"
    log_in(page, room, "Ada")
    drop_case(page, title, cells=2)
    expect(page.locator("h1")).to_contain_text(title)
    page.goto(f"{room.address}/cases")
    expect(page.locator(".case-name a")).to_have_text(title)
    assert page.title() == "Cases · marrowscope"


def test_two_readers_read_blind_and_are_compared(
    room: Served, browser: Browser, page: Page
) -> None:
    log_in(page, room, "Ada")
    address = drop_case(page, cells=6)
    decide_first(page, "HAC")
    page.click("#about-open")
    page.fill("#share [name=name]", "Rita")
    page.click("#share button")
    expect(page.locator("#members")).to_have_text("Rita")
    other = new_context(browser).new_page()
    log_in(other, room, "Rita")
    other.goto(address)
    other.wait_for_selector("[data-ready]")
    expect(other.locator(".tile.decided")).to_have_count(1)
    other.click("#about-open")
    with other.expect_navigation():
        other.click("#blind-open")
    other.wait_for_selector("[data-ready]")
    expect(other.locator("#blind")).to_be_visible()
    expect(other.locator(".tile.decided")).to_have_count(0)
    decide_first(other, "MYB")
    expect(page.locator(".tile.decided")).to_have_count(1)
    other.context.close()


@pytest.mark.parametrize(("size", "scheme"), [(WIDE, "light"), (NARROW, "dark")])
def test_every_page_is_accessible(
    room: Served, browser: Browser, size: tuple[int, int], scheme: Literal["light", "dark"]
) -> None:
    context = new_context(
        browser,
        viewport={"width": size[0], "height": size[1]},
        color_scheme=scheme,
        reduced_motion="reduce",
        bypass_csp=True,
    )
    page = context.new_page()
    for path in ("/login", "/welcome"):
        page.goto(room.address + path)
        assert faults(page) == []
    log_in(page, room, "Root")
    drop_case(page, cells=12)
    assert faults(page) == []
    page.locator(".tile:visible").first.click()
    expect(page.locator("#chances .track").first).to_be_visible()
    page.locator("#similar button").first.click()
    expect(page.locator("#beside")).to_be_visible()
    assert faults(page) == []
    assert page.locator("#large").evaluate("box => box.scrollWidth <= box.clientWidth")
    page.click("#large-close")
    for opener in ("#about-open", "#help-open"):
        page.click(opener)
        assert faults(page) == []
        page.keyboard.press("Escape")
    for path in ("/cases", "/users", "/audit?check=true", "/account", "/cases/none"):
        page.goto(room.address + path)
        assert faults(page) == []
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), path
    context.close()


def test_every_class_has_a_key_of_its_own() -> None:
    assert list(KEYS) == list(CLASSES)
    assert len(set(KEYS.values())) == len(KEYS)
    assert all(re.fullmatch("[a-z]", key) for key in KEYS.values())
    assert not {"u", "g"} & set(KEYS.values())


def test_the_scripts_are_typed() -> None:
    compiler = shutil.which("tsc")
    if compiler is None:
        pytest.skip("no TypeScript compiler on this machine (npm install -g typescript)")
    options = "--allowJs --checkJs --noEmit --strict --module esnext --moduleResolution bundler"
    targets = "--target esnext --lib esnext,dom,dom.iterable"
    files = [str(file) for file in STATIC.glob("*.js")]
    command = [compiler, *options.split(), *targets.split(), *files]
    checked = subprocess.run(command, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout
