"""Error messages in two parts: what came, and what to do about it."""

import re

VERBS = (
    *("add", "answer", "ask", "check", "choose", "close", "correct", "count", "divide", "evaluate"),
    *("export", "give", "install", "leave", "make", "measure", "name", "omit", "open", "put"),
    *("read", "remove", "rename", "repeat", "restore", "run", "say", "send", "set", "sign"),
    *("start", "take", "train", "try", "unpack", "upgrade", "use", "wait", "write"),
)
"""Verbs with which a message says what to do."""
HINT = re.compile(rf"; (?=(?:{'|'.join(VERBS)})\b)")


def split_hint(message: str) -> tuple[str, str]:
    """Give the cause and the hint of a message; the hint is empty where it has none.

    `out holds something; give another folder` is `out holds something` and `give another folder`.
    """
    cause, *hints = HINT.split(message, maxsplit=1)
    return cause, "".join(hints)
