"""What README and docs tell people to type exists, and the files they point to are there."""

import re
import shlex
from functools import cache
from pathlib import Path

import pytest
from conftest import ROOT
from test_classify import run

GROUPS = ("audit-log", "bundle", "case", "data", "user")
"""Commands that have commands of their own."""
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def commands(program: str) -> list[list[str]]:
    """Collect the lines of console blocks that call a program."""
    blocks = [
        block
        for page in PAGES
        for block in re.findall(r"```console\n(.*?)```", page.read_text(), re.DOTALL)
    ]
    lines = [shlex.split(line) for block in blocks for line in block.splitlines() if line]
    return [line for line in lines if line[0] == program]


@pytest.mark.parametrize("words", commands("marrowscope"), ids=" ".join)
def test_every_command_and_option_in_the_docs_exists(words: list[str]) -> None:
    command = words[1:3] if words[1] in GROUPS else words[1:2]
    page = help_of(*command)
    assert f"marrowscope {' '.join(command)}" in page
    for option in (word for word in words if word.startswith("--")):
        assert re.search(rf"{option}\b", page), option


def test_the_make_targets_of_the_readme_exist() -> None:
    targets = {words[1] for words in commands("make")}
    assert targets == {"demo", "docs", "test"}
    assert all(f"\n{target}:" in (ROOT / "Makefile").read_text() for target in targets)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files_that_are_there(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", page.read_text()):
        assert (page.parent / target).exists(), target


def test_every_command_has_a_word_in_the_docs() -> None:
    lines = commands("marrowscope")
    assert {words[1] for words in lines} == listed_in()
    for group in GROUPS:
        below = {words[2] for words in lines if words[1] == group}
        assert below == listed_in(group)


def listed_in(*words: str) -> set[str]:
    """Collect the commands that a page of help lists."""
    return set(re.findall(r"│ ([a-z][\w-]*) ", help_of(*words)))


@cache
def help_of(*command: str) -> str:
    """Ask a command for its help, once."""
    return run(*command, "--help").stdout


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_lists_and_tables_stand_apart_from_the_text_above(page: Path) -> None:
    """Without an empty line above, the site shows them as text; the repository does not."""
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    item = r"(?:- |\d+\. |\|)"
    joined = re.findall(rf"^(?! |{item}|\n)[^\n]+\n(?={item})", text, re.MULTILINE)
    assert joined == []
    assert re.findall(r"^ {1,3}- .*", text, re.MULTILINE) == []
