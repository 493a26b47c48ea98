"""What MkDocs calls while it builds the site: pages from the code, pages from the repository."""

from pathlib import Path
from typing import Any

import commands_page
import interface_page
import outside_pages
import python_page
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

DOCS = outside_pages.ROOT / "docs"


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Add the decisions, the Python interface and all pages not named to the navigation."""
    nav: list[dict[str, Any]] = config.nav or []
    _section(nav, "Decisions").extend(_pages_below("decisions"))
    reference = [{part.title: f"reference/{part.name}.md"} for part in python_page.PARTS]
    _section(nav, "Reference").append({"Python": reference})
    named = set(_named(nav))
    rest = (name for name in [*_pages_below("."), *outside_pages.outside().values()])
    _section(nav, "Project").extend(
        name for name in rest if name.endswith(".md") and name not in named
    )
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are not in `docs`."""
    made = {
        "reference/commands.md": commands_page.page(),
        "reference/rest.md": interface_page.page(),
        **{f"reference/{part.name}.md": python_page.page(part) for part in python_page.PARTS},
    }
    for name, text in made.items():
        files.append(File.generated(config, name, content=text))
    for source, name in outside_pages.outside().items():
        if name.endswith(".md"):
            text = outside_pages.led_to_the_site(outside_pages.text_of(source), name, source)
            files.append(File.generated(config, name, content=text))
        else:
            path = str(outside_pages.ROOT / source)
            files.append(File.generated(config, name, abs_src_path=path))
    return files


def on_page_markdown(markdown: str, page: Page, **_rest: Any) -> str:
    """Lead links that leave `docs` to where the site has what they point to."""
    if page.file.generated_by:
        return markdown
    name = page.file.src_uri
    return outside_pages.led_to_the_site(markdown, name, f"docs/{name}")


def _section(nav: list[dict[str, Any]], title: str) -> list[Any]:
    pages: list[Any] = next(entry[title] for entry in nav if title in entry)
    return pages


def _pages_below(folder: str) -> list[str]:
    files = sorted(Path(DOCS, folder).glob("*.md"))
    return [file.relative_to(DOCS).as_posix() for file in files]


def _named(nav: Any) -> list[str]:
    """Collect the pages that a navigation names, at any depth."""
    if isinstance(nav, str):
        return [nav]
    entries = nav.values() if isinstance(nav, dict) else nav
    return [name for entry in entries for name in _named(entry)]
