"""What a fuzzer once found, and what reaches every branch of the readers, is read or refused."""

import resource
import time
from pathlib import Path

import pytest
from conftest import PATIENCE_S
from seeds import SEEDS, seeds
from targets import TARGETS, survives

CORPUS = Path(__file__).parent / "corpus"
LONGEST_SECONDS = PATIENCE_S
"""For one case; the slowest takes a tenth of a second on a quiet machine."""
MOST_KIB = 512 * 1024
"""That the memory of this process may grow by."""
LARGEST_BYTES = 300_000
"""Size of all cases together."""


@pytest.mark.parametrize("target", TARGETS)
def test_every_case_is_read_or_refused_in_words(target: str) -> None:
    files = sorted((CORPUS / target).iterdir())
    cases = [*(file.read_bytes() for file in files), *seeds(target)]
    assert len(files) > 10
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    outcomes = set()
    for case in cases:
        start = time.monotonic()
        outcomes.add(survives(target, case))
        assert time.monotonic() - start < LONGEST_SECONDS, case[:40]
    assert "read" in outcomes
    assert len(outcomes) > 1 or target == "container"
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < MOST_KIB


def test_the_corpus_is_small_and_of_the_targets() -> None:
    assert {folder.name for folder in CORPUS.iterdir()} == set(TARGETS) == set(SEEDS)
    assert sum(file.stat().st_size for file in CORPUS.rglob("*")) < LARGEST_BYTES
