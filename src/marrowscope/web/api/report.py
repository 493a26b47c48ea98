"""The report on a case, as a page, a PDF, tables and FHIR."""

from enum import StrEnum

from fastapi import APIRouter, Response

from marrowscope.store.cases import find_case
from marrowscope.web.auth import InRoom, Me
from marrowscope.web.blind_view import check_not_blind
from marrowscope.web.params import CaseId
from marrowscope.web.report import report_file

router = APIRouter(tags=["report"])


class ReportName(StrEnum):
    """A file of the report."""

    HTML = "report.html"
    PDF = "report.pdf"
    CELLS = "cells.csv"
    SHARES = "differential.csv"
    SUMMARY = "differential.json"
    FHIR = "fhir.json"


MEDIA = {
    "html": "text/html; charset=utf-8",
    "pdf": "application/pdf",
    "csv": "text/csv; charset=utf-8",
    "json": "application/json",
}
PAGE_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; sandbox allow-modals"
"""A report is one file with its styles and pictures in it, and no script."""


@router.get("/cases/{case_id}/report/{name}", response_class=Response)
def report(caller: Me, room: InRoom, case_id: CaseId, name: ReportName) -> Response:
    """Give a file of the report on a case as it stands; it takes a second or two.

    It is refused while you read the case blind, and while cells or fields of it wait.
    """
    with room.store.read() as session:
        case = find_case(session, caller.user, case_id)
        check_not_blind(session, case, caller.user)
        content = report_file(session, room, case, name.value)
    kind = name.value.rpartition(".")[2]
    shown = "inline" if kind in {"html", "pdf"} else "attachment"
    headers = {"Content-Disposition": f'{shown}; filename="{case_id}-{name.value}"'}
    if kind == "html":
        headers["Content-Security-Policy"] = PAGE_POLICY
    return Response(content, media_type=MEDIA[kind], headers=headers)
