"""The page of all commands, from the command line itself."""

import re
from collections.abc import Iterator
from typing import Any

from typer.main import get_command

from marrowscope.cli import app

INTRODUCTION = """# Commands

Every command with all that it takes, as `--help` says it. A command without options does what most
people want; it says on the screen where it wrote what.

"""


def page() -> str:
    """Write the page: a chapter for each command, those of a group below the group."""
    program = get_command(app)
    context = program.make_context("marrowscope", [], resilient_parsing=True)
    return INTRODUCTION + "\n\n".join(_chapters(program, context, "marrowscope", 2)) + "\n"


def _chapters(group: Any, context: Any, name: str, level: int) -> Iterator[str]:
    for word in group.list_commands(context):
        command = group.get_command(context, word)
        below = type(context)(command, info_name=word, parent=context)
        yield _chapter(command, below, f"{name} {word}", level)
        if hasattr(command, "list_commands"):
            yield from _chapters(command, below, f"{name} {word}", level + 1)


def _chapter(command: Any, context: Any, name: str, level: int) -> str:
    parts = [f"{'#' * level} {name}", _paragraphs(command.help), _usage(command, context, name)]
    parts += [_table(command, context), _paragraphs(command.epilog)]
    return "\n\n".join(part for part in parts if part)


def _paragraphs(text: str | None) -> str:
    """Give a help text as paragraphs; its examples, one in backquotes each, as one block."""
    paragraphs = [" ".join(part.split()) for part in (text or "").split("\n\n")]
    joined = "\n\n".join(part for part in paragraphs if part)
    return re.sub(r"(?:^`marrowscope [^`]*`(?:\n\n|\Z))+", _block, joined, flags=re.MULTILINE)


def _block(examples: re.Match[str]) -> str:
    lines = [line.strip("`") for line in examples[0].split("\n\n") if line]
    return "```console\n" + "\n".join(lines) + "\n```\n\n"


def _usage(command: Any, context: Any, name: str) -> str:
    return f"```text\n{name} {' '.join(command.collect_usage_pieces(context))}\n```"


def _table(command: Any, context: Any) -> str:
    records = [parameter.get_help_record(context) for parameter in command.params]
    rows = [f"| {_cell(f'`{what}`')} | {_cell(words)} |" for what, words in filter(None, records)]
    return "\n".join(["| given | meaning |", "|---|---|", *rows]) if rows else ""


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
