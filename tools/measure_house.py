"""Print how readable the house is: names, sentences, arguments, the terminal; each beside its aim.

    python tools/measure_house.py          (all of it; classifies the sample cells)
    python tools/measure_house.py --fast   (without running a command)

Counted on `src/` unless a line says otherwise. `tests/test_names.py` holds the line on the names.
"""

import ast
import os
import re
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from marrowscope.taxonomy import CLASSES

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src/marrowscope"
BARRED = "each", "found", "given", "known", "kept", "seen"
"""Names that no local and no argument may have."""
VAGUE = frozenset(
    {"after", "again", "asked", "before", "both", "done", "each", "found", "given", "here"}
    | {"kept", "known", "least", "left", "made", "more", "most", "much", "now", "one", "other"}
    | {"others", "read", "rest", "said", "seen", "shown", "some", "taken", "then", "there"}
    | {"told", "wanted", "what", "who", "whole", "written"}
)
"""Function words and participles, which do not say what a name holds."""
COLUMNS = "100"
"""Width of the terminal that is measured."""
OWNERS = "commands", "web", "wording"
"""Packages that may build sentences."""
FEWEST_CODES = 4
"""Class codes that make a literal a table of classes."""


class Measure(NamedTuple):
    """A figure, and what it should be."""

    name: str
    value: str
    aim: str


class Place(NamedTuple):
    """A name, where it stands."""

    file: Path
    line: int
    name: str

    @property
    def package(self) -> str:
        """The package of `src`, or the folder of the repository, that it stands in."""
        parts = self.file.relative_to(ROOT).parts
        if parts[0] != "src":
            return parts[0]
        return parts[2] if len(parts) > 3 else "marrowscope"

    def __str__(self) -> str:
        return f"{self.file.relative_to(ROOT)}:{self.line}: {self.name}"


def parsed(folder: Path) -> Iterator[tuple[Path, ast.Module]]:
    """Give the modules of a folder, parsed."""
    for file in sorted(folder.rglob("*.py")):
        yield file, ast.parse(file.read_text(encoding="utf-8"))


def bindings(file: Path, tree: ast.AST) -> Iterator[Place]:
    """Give the locals and arguments of a module's functions, once for each time they are set."""
    for function in _functions(tree):
        for node in _own_nodes(function):
            if isinstance(node, ast.arg):
                yield Place(file, node.lineno, node.arg)
            elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                yield Place(file, node.lineno, node.id)


def functions_ending_in_of(file: Path, tree: ast.AST) -> Iterator[Place]:
    """Give the functions whose name ends in `_of`: they are verbs, and nouns stand as nouns."""
    for node in _functions(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.endswith("_of"):
            yield Place(file, node.lineno, node.name)


def openings_with_of(file: Path, tree: ast.AST) -> Iterator[Place]:
    """Give the docstrings, also those of fields and constants, that open with a bare "Of"."""
    for node in ast.walk(tree):
        match node:
            case ast.Expr(value=ast.Constant(value=str(text))) if re.match(r"Of\b(?! \d)", text):
                yield Place(file, node.lineno, text.splitlines()[0])


def _functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield node


def _own_nodes(function: ast.AST) -> Iterator[ast.AST]:
    """Give the nodes of a function, without those of functions and classes within it."""
    nodes = list(ast.iter_child_nodes(function))
    while nodes:
        node = nodes.pop()
        yield node
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.ClassDef):
            nodes.extend(ast.iter_child_nodes(node))


def tables_of_classes(file: Path, tree: ast.Module) -> Iterator[Place]:
    """Give the constants of a module that name several classes."""
    for statement in tree.body:
        codes = {
            code
            for node in ast.walk(statement)
            if isinstance(node, ast.Constant) and isinstance(node.value, str)
            for code in node.value.split()
            if code in CLASSES
        }
        if isinstance(statement, ast.Assign | ast.AnnAssign) and len(codes) >= FEWEST_CODES:
            target = statement.target if isinstance(statement, ast.AnnAssign) else statement.targets
            names = target if isinstance(target, list) else [target]
            yield Place(file, statement.lineno, ", ".join(map(ast.unparse, names)))


def argument_counts(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Give the number of arguments of each public function, and its name."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name[0] != "_":
            every = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
            yield len([argument for argument in every if argument.arg != "self"]), node.name


def sentences(text: str) -> Iterator[int]:
    """Give the words of each sentence of a page in Markdown: no code, no tables, no headings.

    "Two words. And three more." gives 2 and 3.
    """
    prose = re.sub(r"```.*?```|<!--.*?-->", "\n\n", text, flags=re.DOTALL)
    lines = [
        "\n\n" if not line.strip() or re.match(r"\s*(\||#|!\[|!!!|---)", line) else line
        for line in prose.splitlines()
    ]
    for paragraph in re.split(r"\n\s*\n|\n\s*(?:[-*]|\d+\.)\s", "\n".join(lines)):
        plain = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", paragraph)
        for sentence in re.split(r"(?<=[.!?])[\s)*]+(?=[A-Z`\[\"(*])", plain):
            if words := re.findall(r"\S*\w\S*", sentence):
                yield len(words)


def pages(folder: Path) -> Mapping[str, str]:
    """Give the text of each page of a folder by its path there."""
    return {
        str(page.relative_to(folder)): page.read_text(encoding="utf-8")
        for page in sorted(folder.rglob("*.md"))
    }


def words(texts: Iterable[str]) -> int:
    """Count as `wc -w` does."""
    return sum(len(text.split()) for text in texts)


def classified() -> str:
    """Give what classify prints on the sample cells."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "marrowscope", "classify", "samples/cells"]
        options = ["--um-per-px", "0.086", "--engine", "onnxruntime", "--output", f"{folder}/demo"]
        environment = os.environ | {"COLUMNS": COLUMNS}
        run = subprocess.run(  # noqa: S603
            [*command, *options],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
    if run.returncode not in {0, 3}:
        raise SystemExit(run.stderr)
    return run.stdout


def measure_names(modules: Sequence[tuple[Path, ast.Module]]) -> Iterator[Measure]:
    """Measure what things are called."""
    every = [place for module in modules for place in bindings(*module)]
    vague = [place for place in every if place.name in VAGUE]
    barred = [place for place in every if place.name in BARRED]
    yield Measure("locals and arguments", f"{len(every):,}", "")
    share = f"{100 * len(vague) / len(every):.1f}%"
    yield Measure("- of them function words or participles", share, "under 1%")
    yield Measure(f"- of them {', '.join(BARRED)}", f"{len(barred)}", "0")
    named = sum(len(list(functions_ending_in_of(*module))) for module in modules)
    yield Measure("functions named ..._of", f"{named}", "0")
    opened = sum(len(list(openings_with_of(*module))) for module in modules)
    yield Measure('docstrings that open with "Of"', f"{opened}", "0")


def measure_shape(modules: Sequence[tuple[Path, ast.Module]]) -> Iterator[Measure]:
    """Measure where sentences and classes are, and how wide functions are."""
    texts = {file: file.read_text(encoding="utf-8") for file, _ in modules}
    domain = {
        file: [line for line in text.splitlines() if "in_words" in line]
        for file, text in texts.items()
        if file.relative_to(SOURCE).parts[0] not in OWNERS
    }
    lines = sum(map(len, domain.values()))
    files = sum(map(bool, domain.values()))
    yield Measure("lines with in_words in the domain", f"{lines} in {files} files", "0")
    tables = [place for module in modules for place in tables_of_classes(*module)]
    packages = {place.package for place in tables}
    value = f"{len(tables)} in {len(packages)} packages"
    yield Measure("tables that name classes", value, "1 row in 1 file")
    for place in tables:
        yield Measure(f"- {place}", "", "")
    widths = sorted((width for _, tree in modules for width in argument_counts(tree)), reverse=True)
    function, command = (
        max(width for width, name in argument_counts(ast.parse(texts[file])) if name == "classify")
        for file in (SOURCE / "inference/classify.py", SOURCE / "commands/classify.py")
    )
    value = f"{function} and {command}"
    yield Measure("arguments of classify() and its command", value, "at most 8")
    wide = sum(width > 8 for width, _ in widths)
    value = f"{wide}, the widest {widths[0][1]} with {widths[0][0]}"
    yield Measure("public functions with more than 8", value, "0, commands apart")
    yield Measure("modules", f"{len(modules)}", "")


def measure_docs() -> Iterator[Measure]:
    """Measure the README and the docs."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    docs = pages(ROOT / "docs")
    guide = [
        text
        for name, text in docs.items()
        if not name.startswith(("decisions/", "appendix/", "lab/"))
    ]
    yield Measure("words of README", f"{words([readme]):,}", "about 700")
    yield Measure("words of docs", f"{words(docs.values()):,}", "about 30,000")
    yield Measure("- without decisions and appendix", f"{words(guide):,}", "")
    for name, texts in (("README", [readme]), ("docs", list(docs.values()))):
        lengths = [length for text in texts for length in sentences(text)]
        yield Measure(f"median sentence of {name}, words", f"{statistics.median(lengths):g}", "13")
        value = f"{max(lengths)}; {sum(length > 30 for length in lengths)} over 30"
        yield Measure(f"longest sentence of {name}, words", value, "at most 30")


def measure_terminal() -> Iterator[Measure]:
    """Measure what classify prints on the samples."""
    printed = classified()
    yield Measure("lines of classify on the samples", f"{len(printed.splitlines())}", "at most 32")
    yield Measure("words of classify on the samples", f"{words([printed])}", "at most 250")


def main() -> None:
    """Print all measures."""
    modules = list(parsed(SOURCE))
    measures = [*measure_names(modules), *measure_shape(modules), *measure_docs()]
    if "--fast" not in sys.argv:
        measures += measure_terminal()
    width = max(len(measure.name) for measure in measures)
    for measure in measures:
        aim = f"aim: {measure.aim}" if measure.aim else ""
        print(f"{measure.name:{width}}  {measure.value:32}{aim}".rstrip())


if __name__ == "__main__":
    main()
