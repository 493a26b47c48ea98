"""Files of the repository that are pages of the site, and links that leave its folder."""

import posixpath
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
CARD, FAST_CARD = (f"src/marrowscope/bundles/{name}" for name in ("default", "fast"))
PAGES = {
    f"{CARD}/MODEL_CARD.md": "model-card.md",
    f"{FAST_CARD}/MODEL_CARD.md": "model-card-fast.md",
    "samples/ATTRIBUTION.md": "samples.md",
    "CHANGELOG.md": "changelog.md",
    "LICENSE": "licence.md",
}
"""Where in the site a file of the repository stands."""
PICTURES = {
    f"{CARD}/failures.jpg": "failures.jpg",
    f"{FAST_CARD}/failures.jpg": "failures-fast.jpg",
    "src/marrowscope/web/static/mark.svg": "assets/mark.svg",
}
MORE = ("CONTRIBUTING.md", "SECURITY.md")
"""Further files that become pages if they are there."""


def outside() -> dict[str, str]:
    """Give the files outside `docs` that the site has, and where."""
    present = {name: name.lower() for name in MORE if (ROOT / name).is_file()}
    return PAGES | PICTURES | present


def text_of(name: str) -> str:
    """Read a file as a page; a plain text becomes one with a title."""
    text = (ROOT / name).read_text(encoding="utf-8")
    return text if name.endswith(".md") else f"# Licence\n\n```text\n{text}```\n"


def led_to_the_site(markdown: str, page: str, source: str) -> str:
    """Point the links of a page to files outside `docs` at where the site has these files.

    The page is `page` in the site and `source` in the repository. `../CHANGELOG.md` in
    `docs/trials.md` becomes `changelog.md`. A link to a file that the site lacks becomes code:
    its name in the repository.
    """

    def mended(link: re.Match[str]) -> str:
        words, target, anchor = link[1], link[2], link[3] or ""
        name = posixpath.normpath(posixpath.join(posixpath.dirname(source), target))
        if not name.startswith("docs/") and name not in outside():
            return f"{words.lstrip('!')[1:-1]} (`{name}`)"
        there = outside().get(name, name.removeprefix("docs/"))
        return f"{words}({posixpath.relpath(there, posixpath.dirname(page) or '.')}{anchor})"

    links = r"(!?\[(?:[^\[\]]|\[[^\]]*\])*\])\((?!https?:|mailto:|#)([^)#\s]+)(#[^)\s]*)?\)"
    pieces = re.split(r"(```.*?```|`[^`\n]*`)", markdown, flags=re.DOTALL)
    return "".join(
        piece if piece.startswith("`") else re.sub(links, mended, piece) for piece in pieces
    )
