"""How cells are to be divided, and how people write that down."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from marrowscope.errors import SplitError

DEFAULT_SHARES = {"train": 0.7, "val": 0.15, "test": 0.15}


@dataclass(frozen=True)
class SplitPlan:
    """How cells are divided."""

    shares: Mapping[str, float] = field(default_factory=lambda: DEFAULT_SHARES)
    """Share of each part, 0..1, adding up to 1; parts are named freely."""
    seed: int = 0
    """Random seed."""
    min_stratum: int = 20
    """A class of a source with fewer cells goes whole to the last part: too few to learn from. With
    `lists`, it does not count."""
    classes: tuple[str, ...] = ()
    """Codes of the class scheme; none for all."""
    sources: tuple[str, ...] = ()
    """Names of the sources whose cells are divided; none for all."""
    cap: int = 0
    """Cells that a class may have in all parts together; 0 for no limit."""
    lists: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """File names whose cells make up a part, as published lists give them."""
    held_out: frozenset[str] = frozenset()
    """SHA-256 of cells that no part may contain."""
    damaged: frozenset[str] = frozenset()
    """Paths of cells that an audit found unusable; no part gets them."""
    leave_out_leaks: bool = False
    """Leave out what shares a group with a listed cell, in place of an error."""

    def __post_init__(self) -> None:
        """Check the shares.

        Raises:
            SplitError: a share is below 0, they do not add up to 1, or beside the lists there is
                none above 0.
        """
        shares = self.shares.values()
        if not shares or not abs(sum(shares) - 1) <= 1e-9 or min(shares) < 0:
            raise SplitError(f"shares must be at least 0 and add up to 1; got {dict(self.shares)}")
        unlisted = self.shares.keys() - self.lists.keys()
        if unlisted and not any(self.shares[part] for part in unlisted):
            raise SplitError(
                f"beside the list of {', '.join(self.lists)}, a part needs a share above 0 for the "
                f"cells that no list names; got {dict(self.shares)}"
            )


def read_shares(text: str) -> dict[str, float]:
    """Read parts and shares: `train=0.8,test=0.2` is `{"train": 0.8, "test": 0.2}`.

    Raises:
        SplitError: the text has another form, or names a part twice.
    """
    pairs = [item.partition("=") for item in text.split(",")]
    try:
        shares = {name.strip(): float(share) for name, _, share in pairs}
    except ValueError:
        shares = {}
    if len(shares) < len(pairs) or "" in shares:
        raise SplitError(f"shares are written as train=0.7,val=0.15,test=0.15; got {text!r}")
    return shares


def read_lists(texts: Iterable[str]) -> dict[str, frozenset[str]]:
    """Read the file names that make up parts, each given as `PART=FILE`.

    Raises:
        SplitError: a text has another form, a part has two lists, or a file cannot be read.
    """
    lists: dict[str, frozenset[str]] = {}
    for text in texts:
        part, _, file = text.partition("=")
        if not part or not file:
            raise SplitError(f"a list is given as PART=FILE, such as test=names.csv; got {text!r}")
        if part in lists:
            raise SplitError(f"the part {part!r} has two lists; put all its names into one file")
        lists[part] = read_names(Path(file))
    return lists


def read_names(file: Path) -> frozenset[str]:
    """Read a published list of file names: a CSV's first column, or one name a line.

    Folders in front of a name are dropped, as they are those of the machine it was made on.

    Raises:
        SplitError: the file cannot be read or names nothing that has an ending, such as `.jpg`.
    """
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SplitError(f"{file}: the list cannot be read ({error})") from None
    names = [PurePosixPath(line.split(",")[0].strip().replace("\\", "/")).name for line in lines]
    file_names = frozenset(name for name in names if PurePosixPath(name).suffix)
    if not file_names:
        raise SplitError(f"{file}: the list names no file; give one name a line, or a CSV of them")
    return file_names
