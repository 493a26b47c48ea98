"""Whole fields in a real browser: dropped, boxed, a cell drawn, one removed, by mouse and keys."""

import base64
from pathlib import Path
from typing import Literal

import pytest
from browsers import NARROW, WIDE, Served, faults, log_in, new_context
from conftest import SAMPLES
from playwright.sync_api import Browser, Page, expect
from test_fields_read import a_field
from test_review_pages import DROP

from marrowscope.detection.boxes import read_boxes
from marrowscope.web.shortcuts import KEYS


def drop_field(page: Page, folder: Path) -> int:
    """Drop a field onto the list of cases, wait for its cells, and open it; give their number."""
    field = a_field(folder / "scan")
    page.evaluate(DROP, ["wide.png", base64.b64encode(field.read_bytes()).decode()])
    expect(page.locator("#kind-words")).to_contain_text("750 x 250 pixels: taken for whole fields")
    expect(page.locator("[name=kind][value=fields]")).to_be_checked()
    page.fill("#facts [name=title]", "F-1")
    page.fill("[name=um_per_px]", "0.086")
    page.click("#facts button.main")
    page.wait_for_url("**/cases/*")
    page.wait_for_selector("[data-ready]")
    expect(page.locator(".tile").first).to_be_attached()
    expect(page.locator("#reading")).to_be_hidden()
    cells = page.locator(".tile").count()
    page.click("#fields-link")
    page.wait_for_url("**/fields*")
    page.wait_for_selector("[data-ready]")
    expect(page.locator(".box")).to_have_count(cells)
    return cells


def counted(page: Page) -> int:
    return int((page.locator("#counted").inner_text()).split()[0])


def test_boxes_are_coloured_and_named_by_class(room: Served, page: Page, tmp_path: Path) -> None:
    log_in(page, room, "Ada")
    cells = drop_field(page, tmp_path)
    expect(page.locator("#field-facts")).to_contain_text("0.0860 µm a pixel, as given")
    expect(page.locator("#list button")).to_have_text([f"wide.png{cells} cells"])
    for box in page.locator(".box").all():
        code = box.get_attribute("data-code")
        assert box.inner_text() == code
        expect(page.locator(f"#legend b[data-code={code}]")).to_be_visible()
    page.locator(".box").first.click()
    expect(page.locator("#large")).to_be_visible()
    expect(page.locator("#large-facts")).to_contain_text("wide.png at ")
    expect(page.locator("#chances .track").first).to_be_visible()
    page.keyboard.press(KEYS["HAC"])
    page.keyboard.press("Escape")
    expect(page.locator(".box[data-code=HAC].decided")).to_have_count(1)
    expect(page.locator("#legend")).to_contain_text("Hairy cell 1")


def test_a_false_box_is_removed_and_put_back_by_keys(
    room: Served, page: Page, tmp_path: Path
) -> None:
    log_in(page, room, "Ada")
    cells = drop_field(page, tmp_path)
    first = page.locator(".box").first
    first.focus()
    with page.expect_response(lambda answer: answer.request.method == "POST"):
        page.keyboard.press(KEYS["LYT"])
    expect(page.locator(".box.decided")).to_have_count(1)
    page.reload()  # the first box may count only now: the count is read from a fresh page
    expect(page.locator("#counted")).to_contain_text("nucleated")
    before = counted(page)
    page.locator(".box.decided").focus()
    page.keyboard.press("Delete")
    expect(page.locator(".box.removed")).to_have_count(1)
    expect(page.locator("#counted")).to_contain_text(f"{before - 1} nucleated")
    page.uncheck("#with-removed")
    expect(page.locator(".box:visible")).to_have_count(cells - 1)
    page.check("#with-removed")
    page.locator(".box.removed").focus()
    page.click("#remove")
    expect(page.locator(".box.removed")).to_have_count(0)
    expect(page.locator("#counted")).to_contain_text(f"{before} nucleated")
    page.click("text=Review the cells")
    page.wait_for_selector("[data-ready]")
    expect(page.locator(".tile")).to_have_count(cells)


def test_a_missed_cell_is_drawn_by_mouse_and_by_keys(
    room: Served, page: Page, tmp_path: Path
) -> None:
    log_in(page, room, "Ada")
    cells = drop_field(page, tmp_path)
    page.click("#draw")
    area = page.locator("#field").bounding_box()
    assert area
    x, y = area["x"] + 0.05 * area["width"], area["y"] + 0.7 * area["height"]
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 50, y + 50, steps=4)
    page.mouse.up()
    expect(page.locator(".box")).to_have_count(cells + 1)
    expect(page.locator("#draw")).to_have_attribute("aria-pressed", "false")
    page.locator(".box").first.focus()
    page.keyboard.press("q")
    expect(page.locator(".box:not([data-code='']):not(.draft)")).to_have_count(cells + 1)
    expect(page.locator(".box.draft")).to_be_focused()  # also when the first is read by now
    expect(page.locator("#draw")).to_have_attribute("aria-pressed", "true")
    page.keyboard.press("Escape")
    expect(page.locator("#draw")).to_have_attribute("aria-pressed", "false")
    page.locator(".box").first.focus()
    page.keyboard.press("q")
    expect(page.locator(".box.draft")).to_be_focused()
    for key in ("ArrowUp", "ArrowLeft", "Shift+ArrowRight"):
        page.keyboard.press(key)
    page.keyboard.press("Enter")
    expect(page.locator(".box:not([data-code=''])")).to_have_count(cells + 2)
    expect(page.locator(".box[aria-label*='drawn by hand']")).to_have_count(2)
    page.keyboard.press("q")
    page.keyboard.press("Escape")
    expect(page.locator(".box.draft")).to_have_count(0)


@pytest.mark.parametrize(("size", "scheme"), [(WIDE, "light"), (NARROW, "dark")])
def test_the_page_of_fields_is_accessible(
    room: Served,
    browser: Browser,
    tmp_path: Path,
    size: tuple[int, int],
    scheme: Literal["light", "dark"],
) -> None:
    context = new_context(
        browser,
        viewport={"width": size[0], "height": size[1]},
        color_scheme=scheme,
        reduced_motion="reduce",
        bypass_csp=True,
    )
    page = context.new_page()
    log_in(page, room, "Ada")
    drop_field(page, tmp_path)
    assert faults(page) == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.locator(".box").first.focus()
    page.keyboard.press("Delete")
    expect(page.locator(".box.removed")).to_have_count(1)
    page.keyboard.press("q")
    assert faults(page) == []
    page.keyboard.press("Escape")
    page.click("#help-open")
    assert faults(page) == []
    context.close()


def test_a_signed_case_and_a_reader_only_look(
    room: Served, browser: Browser, page: Page, tmp_path: Path
) -> None:
    log_in(page, room, "Ada")
    drop_field(page, tmp_path)
    address = page.url
    page.click("text=Review the cells")
    page.wait_for_selector("[data-ready]")
    page.click("#about-open")
    page.fill("#share [name=name]", "Rita")
    page.click("#share button")
    expect(page.locator("#members")).to_have_text("Rita")
    page.keyboard.press("Escape")
    other = new_context(browser).new_page()
    log_in(other, room, "Rita")
    other.goto(address)
    other.wait_for_selector("[data-ready]")
    expect(other.locator("#draw")).to_be_hidden()
    other.context.close()
    for state in ("reviewed", "signed"):
        page.click("#step")
        page.click("#confirm-do")
        expect(page.locator("#state")).to_have_text(state)
        expect(page.locator("#confirm")).to_be_hidden()
    page.goto(address)
    page.wait_for_selector("[data-ready]")
    page.locator(".box").first.focus()
    page.keyboard.press("Delete")
    expect(page.locator("#remove")).to_be_disabled()
    expect(page.locator(".box.removed")).to_have_count(0)


def test_real_fields_of_four_cameras_are_boxed_and_told_their_scale(
    room: Served, page: Page
) -> None:
    """The scale is left empty: red cells tell it, field by field."""
    files = sorted((SAMPLES / "fields").glob("*.jpg"))
    log_in(page, room, "Ada")
    page.set_input_files("#pick-files", list(map(str, files)))
    expect(page.locator("#kind-words")).to_contain_text("taken for")
    page.check("[name=kind][value=fields]")
    page.fill("#facts [name=title]", "F-2")
    page.click("#facts button.main")
    page.wait_for_url("**/cases/*")
    page.wait_for_selector("[data-ready]")
    expect(page.locator("#reading")).to_be_hidden()
    page.click("#fields-link")
    page.wait_for_selector("[data-ready]")
    expect(page.locator("#list button")).to_have_count(len(files))
    for number in range(len(files)):
        button = page.locator("#list button").nth(number)
        name = button.get_attribute("title") or ""
        button.click()
        expect(page.locator("#field-title")).to_have_text(name)
        expect(page.locator("#field-facts")).to_contain_text("estimated from red cells")
        expect(page.locator(".box")).to_have_count(cells_drawn(name))


def cells_drawn(name: str) -> int:
    """How many nucleated cells people have drawn on a sample field."""
    boxes = read_boxes(SAMPLES / "fields" / "boxes.csv")[name]
    return sum(box.label == "WBC" for box in boxes)
