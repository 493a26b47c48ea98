"""Requests that may be sent again: by their idempotency key they are done once."""

import hashlib
import json
from collections.abc import Callable
from typing import Annotated, Any

from fastapi import Header
from sqlalchemy.orm import Session

from marrowscope.store.database import Store
from marrowscope.store.idempotency import answered, remember
from marrowscope.store.tables import User
from marrowscope.web.params import Words

Key = Annotated[
    Words | None,
    Header(
        alias="Idempotency-Key",
        description="Chosen by the sender; the same request with the same key is done once.",
    ),
]


def once(
    store: Store, who: User, key: str | None, what: Any, do: Callable[[Session], dict[str, Any]]
) -> dict[str, Any]:
    """Do something in one transaction and give its answer; with a key, at most once.

    `what` (plain JSON) is all that makes two requests the same.

    Raises:
        ConflictError: the key was used for something else.
        StoreError: the key is empty, longer than 120 characters or not one line.
    """
    with store.write() as session:
        if key is None:
            return do(session)
        fingerprint = hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()
        sender = session.get_one(User, who.id)
        earlier = answered(session, sender, key, fingerprint)
        if earlier is not None:
            return earlier
        answer = do(session)
        remember(session, sender, key, fingerprint, answer)
        return answer
