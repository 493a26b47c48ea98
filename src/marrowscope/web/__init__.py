"""The reading room: a local web application for cases and their review."""

from importlib.util import find_spec

from marrowscope.errors import MissingExtraError

NEEDED = ("fastapi", "uvicorn", "python_multipart", "prometheus_client")

if missing := [name for name in NEEDED if find_spec(name) is None]:
    raise MissingExtraError(
        f"the reading room needs {', '.join(missing)}; install it with: "
        "pip install 'marrowscope[web]'"
    )
