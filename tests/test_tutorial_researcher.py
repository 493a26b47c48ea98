"""The tutorials, walked as their readers do."""

from pathlib import Path

from conftest import ROOT
from tutorial_runner import walk

TUTORIALS = ROOT / "docs/tutorials"


def test_a_researcher_comes_from_the_public_set_to_a_network(tmp_path: Path) -> None:
    walk(TUTORIALS / "researcher.md", tmp_path)
    for page in ("audit/audit.html", "figures/first/report.html", "comparison/compare.html"):
        assert (tmp_path / page).stat().st_size > 10_000
    card = (tmp_path / "bundles/first/MODEL_CARD.md").read_text()
    assert "0 pairs of an audit (no patient is known)" in card
