"""What README and docs tell people to type is typed, in order, on a desk with what they name."""

import re
import shlex
import shutil
from pathlib import Path

import pytest
from conftest import ROOT
from docs_fixture import carry_out, copied, lay_out, made_small, prepare

README = ROOT / "README.md"
PAGES = [page for page in sorted((ROOT / "docs").rglob("*.md")) if page.parent.name != "tutorials"]
"""The tutorials are run by a test of their own."""
OTHER_PROGRAMS = {
    "make": "sets up an environment by pip; .ci/run does it",
    "export": "sets a variable; tests/test_signature.py sets it",
    "openssl": "the desk has a key; tests/test_signature.py signs by OpenSSL",
    "printf": "what OpenSSL signs in the next line",
    "pip": "fetches packages",
    "python": "benchmarks and tools need the data sets that are not in the repository",
    "torchrun": "tests/test_parallel.py trains with several processes",
}
ONE_EXPORT = "an export takes seconds; the README's is run"
NOT_RUN = {
    "bundles/default": ONE_EXPORT,
    "bundles/fast": ONE_EXPORT,
    "mll_nb=data/mll_nb": "needs data that is not in the repository",
    "pack160": "needs the data of the split",
    "splits/default": "needs the data of the split",
    "bundles/resnet50": ONE_EXPORT,
    "--recipe fast": "needs the split of the bundle; tests/test_train.py reads the recipe",
    "teacher=default": "needs the split of the bundle; tests/test_distillation.py teaches",
    "figures-1": "needs a training for each fold; tests/test_label_issues.py makes such lists",
    "marrowscope case export": "needs a reviewed case; tests/test_review_server.py exports one",
    "--bundle-sha256": "the digest of the shipped bundle; tests/test_signature.py compares it",
    "--room room-copy": "a copy made by hand; tests/test_tutorial_laboratory.py verifies one",
    "--case 3f0c9a51d2e4b678": "the number of a case; tests/test_review_server.py exports its log",
    "marrowscope doctor": "measures all engines; tests/test_doctor.py runs it",
    "marrowscope serve": "stays up; tests/test_web_worker.py runs it",
    "--false-alarms": ONE_EXPORT,
    "--picture-credit": ONE_EXPORT,
    "--no-pictures": ONE_EXPORT,
    "--ray": "tests/test_ray.py runs a cluster",
    "--database postgresql://": "needs a server; tests/test_database.py runs one",
}
"""Parts of lines that are not run, each with the reason."""
FRAGMENTS = {"fhir.md": "goes on from a count that a program has; tests/test_fhir.py writes one"}
"""Pages whose Python is no whole program, each with the reason."""
PLACES = {"/srv/room": "srv/room", "BM_cytomorphology_data": "path/to/labelled_cells"}
"""What the docs call otherwise than it is called on the desk."""


def blocks_of(page: Path, language: str) -> list[str]:
    """Collect a page's blocks of a language."""
    text = page.read_text(encoding="utf-8")
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def lines_of(page: Path) -> list[str]:
    """Collect the lines of a page's console blocks."""
    return [line for block in blocks_of(page, "console") for line in block.splitlines() if line]


def reason_not_to_run(line: str) -> str:
    """Say why a line is not run; nothing if it is."""
    program = line.split(maxsplit=1)[0]
    reasons = [reason for part, reason in NOT_RUN.items() if part in line]
    return OTHER_PROGRAMS.get(program, "") or "".join(reasons[:1])


def cleared(words: list[str]) -> None:
    """Remove what the command is about to write, as a person would who repeats it."""
    if "--output" in words and "--overwrite" not in words:
        output = Path(words[words.index("--output") + 1])
        if output.is_dir():
            shutil.rmtree(output)
        output.unlink(missing_ok=True)


def typed(words: list[str]) -> None:
    """Run a command; one that continues another after it."""
    begun = [word for word in words if word != "--resume"]
    cleared(begun)
    carry_out(begun)
    if begun != words:
        carry_out(words)


def type_all(page: Path, network: Path) -> None:
    """Type all lines of a page, but for those with a reason not to."""
    for line in lines_of(page):
        if not reason_not_to_run(line):
            words = [PLACES.get(word, word) for word in shlex.split(line)[1:]]
            typed(made_small(words, network))


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory, toy_network: Path) -> Path:
    """A desk on which the README was followed from its first line to its last."""
    folder = tmp_path_factory.mktemp("desk")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        lay_out(folder, toy_network)
        type_all(README, toy_network)
        prepare(folder)
    return folder


@pytest.mark.parametrize(
    "file",
    [
        "results/report.html",
        "results/predictions.csv",
        "results/differential.json",
        "report/report.pdf",
        "audit/audit.html",
        "split/split.csv",
        "bundles/first/MODEL_CARD.md",
        "figures/report.html",
    ],
)
def test_the_readme_leaves_what_it_names(file: str, desk: Path) -> None:
    assert (desk / file).stat().st_size > 0


@pytest.mark.parametrize("page", [page for page in PAGES if lines_of(page)], ids=lambda p: p.name)
def test_every_line_of_a_page_runs(
    page: Path, desk: Path, tmp_path: Path, toy_network: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(copied(desk, tmp_path, page))
    type_all(page, toy_network)


@pytest.mark.parametrize(
    "page", [page for page in PAGES if blocks_of(page, "python")], ids=lambda p: p.name
)
def test_the_python_of_a_page_runs(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for block in blocks_of(page, "python"):
        imports = re.sub(r"^(?!from |import ).*$", "", block, flags=re.MULTILINE)
        compile(block, page.name, "exec")
        exec(imports if page.name in FRAGMENTS else block, {})  # noqa: S102 - our own pages


def test_each_reason_has_a_line() -> None:
    lines = [line for page in [README, *PAGES] for line in lines_of(page)]
    for part in [*OTHER_PROGRAMS, *NOT_RUN]:
        assert any(part in line for line in lines), part
