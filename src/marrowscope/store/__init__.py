"""The store of the reading room: users, cases, cells, decisions and jobs in a database."""

from importlib.util import find_spec

from marrowscope.errors import MissingExtraError

NEEDED = ("sqlalchemy", "alembic", "argon2")

if missing := [name for name in NEEDED if find_spec(name) is None]:
    raise MissingExtraError(
        f"the reading room needs {', '.join(missing)}; install it with: "
        "pip install 'marrowscope[web]'"
    )
