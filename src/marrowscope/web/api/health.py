"""Whether the server lives and is ready, and its counters."""

from fastapi import APIRouter, Response
from pydantic import BaseModel
from sqlalchemy import text

from marrowscope import __version__
from marrowscope.errors import NotReadyError
from marrowscope.store.jobs import jobs_by_state
from marrowscope.web.auth import Admin, InRoom

router = APIRouter(tags=["health"])
PROMETHEUS = "text/plain; version=0.0.4; charset=utf-8"


class Health(BaseModel):
    """That all is well."""

    status: str
    version: str


@router.get("/health/live")
def live() -> Health:
    """Tell that the server answers."""
    return Health(status="live", version=__version__)


@router.get("/health/ready")
def ready(room: InRoom) -> Health:
    """Tell that the database answers and the model is loaded; 503 until then."""
    with room.store.read() as session:
        session.execute(text("SELECT 1"))
    if not room.is_ready:
        raise NotReadyError("the model is being loaded; try again in a few seconds")
    return Health(status="ready", version=__version__)


@router.get("/metrics", response_class=Response)
def metrics(caller: Admin, room: InRoom) -> Response:  # noqa: ARG001 - it needs one
    """Give the counters as Prometheus reads them; scrape with an administrator's token."""
    with room.store.read() as session:
        for state, jobs in jobs_by_state(session).items():
            room.meters.jobs.labels(state.value).set(jobs)
    return Response(room.meters.page(), media_type=PROMETHEUS)
