"""What users install is under permissive licences, but for libraries that are named here."""

import re
from importlib.metadata import Distribution

import pytest
from installed import PROJECT, needed, needed_by

PERMISSIVE = (
    "0BSD",
    "3-Clause BSD License",
    "Apache 2.0",
    "Apache 2.0 License",
    "Apache Software License",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD License",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "CNRI-Python",
    "ISC",
    "ISC License (ISCL)",
    "MIT",
    "MIT License",
    "MIT-0",
    "MIT-CMU",
    "PSF-2.0",
    "Python Software Foundation License",
    "Unlicense",
    "Zlib",
)
EXCEPTIONS = {
    "certifi": "MPL-2.0, a list of certificates that is used as it is; with [scale]",
    "pathspec": "MPL-2.0, used as it is; with [docs]",
    "openslide-bin": "LGPL-2.1, used as it is; with [slides]",
    "openslide-python": "LGPL-2.1, used as it is; with [slides]",
    "psycopg": "LGPL-3.0, used as it is; with [postgres]",
    "psycopg-binary": "LGPL-3.0, used as it is; with [postgres]",
    "tqdm": "MPL-2.0 for some files, used as it is; with [train]",
}
"""Libraries of extras that are under a weak copyleft; docs/security.md names them too."""


def licences_of(library: Distribution) -> list[str]:
    """The licences that apply together, as the library's own metadata names them."""
    told = library.metadata
    if told["License-Expression"]:
        return re.split(r"\s+(?:AND|OR)\s+", told["License-Expression"])
    classifiers = [
        each.rpartition(" :: ")[2]
        for each in told.get_all("Classifier", [])
        if each.startswith("License :: ")
    ]
    return classifiers or [told["License"] or "not stated"]


@pytest.mark.parametrize("name", sorted(needed()))
def test_a_library_is_permissive(name: str) -> None:
    strange = [each for each in licences_of(needed()[name]) if each not in PERMISSIVE]
    assert bool(strange) == (name in EXCEPTIONS), strange


def test_the_base_install_has_no_exception() -> None:
    assert not EXCEPTIONS.keys() & needed_by(PROJECT["dependencies"]).keys()
