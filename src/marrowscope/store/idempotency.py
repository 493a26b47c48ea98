"""Uploads that can be sent again: the same one is answered as the first time, and done once."""

from datetime import timedelta
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from marrowscope.errors import ConflictError
from marrowscope.store.tables import Upload, User
from marrowscope.store.timestamps import now
from marrowscope.store.validation import needed

KEPT = timedelta(days=7)
"""After that the same key stands for something new."""


def answered(session: Session, actor: User, key: str, fingerprint: str) -> dict[str, Any] | None:
    """Give what was answered to an upload with this key; None if it is new.

    Ask in the transaction that does the upload: a second one of this user waits until it ends.

    `fingerprint` is a SHA-256 of what is sent, such as of its address and the hashes of its files.

    Raises:
        ConflictError: the key was used for something else.
        StoreError: the key is empty, longer than 120 characters or not one line.
    """
    session.refresh(actor, with_for_update={"key_share": True})
    query = select(Upload).where(
        Upload.user_id == actor.id, Upload.key == needed("idempotency key", key)
    )
    upload = session.scalar(query)
    if upload is None or upload.created_at <= now() - KEPT:
        return None
    if upload.fingerprint != fingerprint:
        raise ConflictError(f"the idempotency key {key!r} was used for another upload")
    return upload.answer


def remember(
    session: Session, actor: User, key: str, fingerprint: str, answer: dict[str, Any]
) -> None:
    """Keep the answer to an upload, in the transaction of what it did; old ones are removed.

    Raises:
        StoreError: the key is empty, longer than 120 characters or not one line.
    """
    session.execute(delete(Upload).where(Upload.created_at <= now() - KEPT))
    upload = Upload(
        user_id=actor.id,
        key=needed("idempotency key", key),
        fingerprint=fingerprint,
        answer=answer,
        created_at=now(),
    )
    session.add(upload)
    session.flush()
