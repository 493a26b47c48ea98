"""Which bundle read a case: one reads all of it, and no other may count it."""

from sqlalchemy.orm import Session

from marrowscope.errors import StoreError
from marrowscope.model.bundle import Bundle
from marrowscope.store.cases import check_open, lock
from marrowscope.store.tables import Case

SHORT = 12
"""Digits of a SHA-256 that messages show."""


def name_model(session: Session, case: Case, bundle: Bundle) -> None:
    """Write down which bundle reads a case, before its first cell is read; one reads all.

    Of a case that was begun before marrowscope kept the digest of bundles, it stays unknown.

    Raises:
        FrozenError: the case is signed or archived.
        StoreError: another bundle has read cells of it.
    """
    lock(session, case)
    check_open(case)
    check_model(case, bundle)
    if case.model_sha256:
        return
    case.bundle, case.model_sha256 = bundle.name, bundle.model_sha256
    case.bundle_sha256, case.classes = bundle.sha256, list(bundle.classes)


def check_model(case: Case, bundle: Bundle) -> None:
    """Check that a bundle is the one that reads a case.

    Of a case that was begun before the digest of bundles was kept, the weights alone are compared.

    Raises:
        StoreError: another bundle has read it.
    """
    if case.model_sha256 not in {"", bundle.model_sha256}:
        raise StoreError(
            f"cells of the case {case.title} were read by the model {case.model_sha256[:SHORT]} of "
            f"the bundle {case.bundle}, and the bundle that is open, {bundle.name}, has other "
            f"weights ({bundle.model_sha256[:SHORT]}); open that bundle, or make a new case"
        )
    if case.bundle_sha256 not in {"", bundle.sha256}:
        raise StoreError(
            f"cells of the case {case.title} were read by the bundle {case.bundle} with the "
            f"SHA-256 {case.bundle_sha256[:SHORT]}; the one that is open, {bundle.name} "
            f"({bundle.sha256[:SHORT]}), has the same weights, but something else in it differs, "
            "such as calibration, thresholds or test figures; open that bundle, or make a new case"
        )
