"""The documentation's site: it builds without a warning and holds together, offline."""

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from concept_drawings import drawings
from conftest import ROOT
from outside_pages import led_to_the_site
from test_docs import listed_in

BUNDLE = ROOT / "src/marrowscope/bundles/default/bundle.json"
LOADED = {"script": "src", "link": "href", "img": "src", "iframe": "src", "source": "src"}
"""Elements that a browser fetches something for."""


@dataclass
class Seen:
    """What a page has and asks for."""

    anchors: set[str] = field(default_factory=set)
    links: set[str] = field(default_factory=set)
    loaded: set[str] = field(default_factory=set)
    text: str = ""


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.seen = Seen()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.seen.anchors |= {name for key in ("id", "name") if (name := given.get(key))}
        if tag == "a" and (href := given.get("href")):
            self.seen.links.add(href)
        if (loaded := given.get(LOADED.get(tag, ""))) and given.get("rel") not in ("next", "prev"):
            self.seen.loaded.add(loaded)

    def handle_data(self, data: str) -> None:
        self.seen.text += data


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "-d", str(folder)]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1", "PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, Seen]:
    read = {}
    for file in site.rglob("*.html"):
        reader = _Reader()
        reader.feed(file.read_text(encoding="utf-8"))
        read[file] = reader.seen
    return read


def test_every_link_leads_to_a_page_and_a_place_on_it(pages: dict[Path, Seen]) -> None:
    broken = [
        (file.name, link)
        for file, seen in pages.items()
        if file.name != "404.html"
        for link in seen.links | seen.loaded
        if not _leads_somewhere(file, link, pages)
    ]
    assert broken == []


def _leads_somewhere(file: Path, link: str, pages: dict[Path, Seen]) -> bool:
    parts = urlsplit(link)
    if parts.scheme in ("http", "https", "mailto"):
        return True
    there = (file.parent / unquote(parts.path)).resolve() if parts.path else file
    if there not in pages:
        return there.is_file()
    return parts.fragment in {"", "__skip", *pages[there].anchors}


def test_no_page_loads_anything_from_elsewhere(site: Path, pages: dict[Path, Seen]) -> None:
    assert {link for seen in pages.values() for link in seen.loaded if "//" in link} == set()
    for style in site.rglob("*.css"):
        asked = re.findall(r"(?:url\(|@import)\s*['\"]?(https?:)?//", style.read_text("utf-8"))
        assert asked == [], style


def test_every_command_and_route_is_on_its_page(site: Path, pages: dict[Path, Seen]) -> None:
    commands = pages[site / "reference/commands.html"]
    assert {f"marrowscope-{name}" for name in listed_in()} <= commands.anchors
    assert "--keep-flagged" in commands.text
    rest = pages[site / "reference/rest.html"]
    assert {"get-cases", "post-casescase_idfiles", "caseout"} <= rest.anchors
    assert (
        "marrowscope.inference.predictor.Predictor"
        in pages[site / "reference/reading.html"].anchors
    )


def test_the_data_card_counts_the_cells_of_the_bundle() -> None:
    images = json.loads(BUNDLE.read_text(encoding="utf-8"))["origin"]["images"]
    card = (ROOT / "docs/data-card.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| ([A-Z]{3}) \|((?: (?:0|\d+/\d+/\d+) \|){7})$", card, re.MULTILINE)
    for code, cells in rows:
        for source, stated in zip(_SOURCES, cells.split("|"), strict=False):
            counted = [images.get(f"{part} {source}", {}).get(code, 0) for part in _PARTS]
            assert stated.strip() == ("/".join(map(str, counted)) if any(counted) else "0"), code
    assert {code for code, _ in rows} == {code for part in images.values() for code in part}


_SOURCES = ("mll", "mll_nb", "ammd", "pbc", "apl", "lmu", "chula")
_PARTS = ("train", "val", "test")


def test_the_drawings_show_the_figures_of_the_code_and_the_bundle() -> None:
    for name, drawing in drawings().items():
        drawn = (ROOT / "docs/concepts" / name).read_text(encoding="utf-8")
        assert drawn == drawing, "draw anew: python tools/site/concept_drawings.py"


def test_links_that_leave_the_docs_lead_to_where_the_site_has_the_file() -> None:
    text = "[a](../../CHANGELOG.md#b), [c](../data.md), [d](../../Makefile), `[e](../x.md)`"
    assert led_to_the_site(text, "concepts/leaks.md", "docs/concepts/leaks.md") == (
        "[a](../changelog.md#b), [c](../data.md), d (`Makefile`), `[e](../x.md)`"
    )
