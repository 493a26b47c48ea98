"""The commands of the reading room that need no server: its cases, users, queue and audit log."""

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from marrowscope.commands.common import (
    SOME_REJECTED,
    JsonOption,
    ScaleOption,
    errors_in_words,
    progress,
    writing,
)

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from marrowscope.store.workspace import Room

BROKEN = 4
"""Exit code for an audit log that is not what was written."""
RoomOption = Annotated[
    Path,
    typer.Option("--room", envvar="MARROWSCOPE_ROOM", help="Folder of the reading room."),
]
DatabaseOption = Annotated[
    str,
    typer.Option(
        "--database",
        envvar="MARROWSCOPE_DATABASE",
        help="Its database, such as postgresql://user@host/name.",
        show_default="room.db in the folder",
    ),
]
PicturesOption = Annotated[
    str,
    typer.Option(
        "--pictures",
        envvar="MARROWSCOPE_PICTURES",
        metavar="URL",
        help="Store that keeps the pictures, such as s3://bucket/room; servers may share it.",
        show_default="the folder",
    ),
]
ROOM = Path("room")

case_app = typer.Typer(no_args_is_help=True, help="Cases of the reading room.")
user_app = typer.Typer(no_args_is_help=True, help="Users of the reading room.")
audit_app = typer.Typer(
    no_args_is_help=True, help="The reading room's log of who did what, and whether it is whole."
)


@contextmanager
def _opened(
    folder: Path, database: str, pictures: str = "", *, new: bool = False
) -> "Iterator[Room]":
    """Open a reading room, and close it; one that is not there is made only if it may be `new`."""
    from marrowscope.store.database import failures_in_words
    from marrowscope.store.workspace import find_room, open_room

    room = (open_room if new else find_room)(folder, database, pictures)
    try:
        with failures_in_words():
            yield room
    finally:
        room.close()


@contextmanager
def _looking(folder: Path, database: str) -> "Iterator[Session]":
    """Open a reading room for looking."""
    with _opened(folder, database) as room, room.store.read() as session:
        yield session


@case_app.command(
    epilog="Examples:\n\n"
    "`marrowscope case add case-117 --user ada`\n\n"
    "`marrowscope case add scan/ --fields --user ada`\n\n"
    "`marrowscope case add cells/ --um-per-px 0.086 --user ada --room /srv/room`\n\n"
    "Exit codes: 0 all was brought in, 1 an error, 2 wrong usage, 3 some files were rejected."
)
def add(
    case: Annotated[
        Path,
        typer.Argument(
            metavar="CASE",
            help="A case.toml, the folder that holds one, or a folder of cells (one slide).",
        ),
    ],
    user: Annotated[str, typer.Option(help="Whose case it will be: a reviewer's name.")],
    um_per_px: ScaleOption = None,
    fields: Annotated[
        bool, typer.Option("--fields", help="The folder holds whole fields: find their cells.")
    ] = False,
    room: RoomOption = ROOM,
    database: DatabaseOption = "",
    pictures: PicturesOption = "",
    as_json: JsonOption = False,
) -> None:
    """Bring a case into the reading room; its cells are read while `marrowscope serve` runs."""
    with errors_in_words(), _opened(room, database, pictures) as opened:
        from marrowscope.cases.case import read_case
        from marrowscope.store.import_case import bring

        with progress("Keeping pictures", None) as advance:
            brought = bring(opened, user, read_case(case, um_per_px, fields=fields), advance)
        if as_json:
            _print_json(asdict(brought))
        else:
            print(f"Case {brought.case}: {brought.added.new:,} cells wait to be read")
            if brought.fields.new:
                print(f"{brought.fields.new:,} fields wait for their cells to be found")
            if already_there := brought.added.known + brought.fields.known:
                print(f"{already_there:,} pictures came twice and count once")
            for reject in brought.rejects:
                print(f"rejected: {reject.path}: {reject.reason}")
    if brought.rejects:
        raise typer.Exit(SOME_REJECTED)


@case_app.command("list", epilog="Example:\n\n`marrowscope case list --search aspirate`")
def list_cases(
    search: Annotated[str, typer.Option(help="Part of a title, material or stain.")] = "",
    archived: Annotated[bool, typer.Option("--archived", help="Those put away instead.")] = False,
    room: RoomOption = ROOM,
    database: DatabaseOption = "",
    as_json: JsonOption = False,
) -> None:
    """List all cases of a reading room, the latest first."""
    with errors_in_words(), _looking(room, database) as session:
        from marrowscope.store.cases import all_cases

        rows = [
            {
                "case": case.public_id,
                "title": case.title,
                "state": case.state.value,
                "owner": case.owner.name,
                "made": case.created_at.isoformat(timespec="seconds"),
            }
            for case in all_cases(session, search, archived=archived)
        ]
        _show(rows, as_json, "no cases")


@case_app.command(
    epilog="Examples:\n\n"
    "`marrowscope case export --output reviewed.csv`\n\n"
    "`marrowscope train --data reviewed.csv --output runs/next`"
)
def export(
    output: Annotated[Path, typer.Option(help="The manifest to write: .csv or .parquet.")],
    source: Annotated[
        str, typer.Option(help="Name of the laboratory, as the manifest's source.")
    ] = "reading-room",
    room: RoomOption = ROOM,
    database: DatabaseOption = "",
    pictures: PicturesOption = "",
    as_json: JsonOption = False,
) -> None:
    """Write the cells that people decided on, of reviewed and signed cases, for `train`."""
    with (
        writing(output),
        _opened(room, database, pictures) as opened,
        opened.store.read() as session,
    ):
        from marrowscope.store.export_labels import export_reviewed

        done = export_reviewed(session, opened.blobs, output, source)
        if as_json:
            _print_json(asdict(done))
        else:
            print(f"{output}: {done.cells:,} cells of {done.cases:,} cases")
            print(f"left out: {done.disputed:,} with another class in another case")
            print(f"left out: {done.in_drafts:,} in cases whose review is not done")


@user_app.command("add", epilog="Example:\n\n`marrowscope user add ada --role reviewer`")
def add_user(
    name: Annotated[str, typer.Argument(metavar="NAME", help="As the user will log in.")],
    role: Annotated[str, typer.Option(help="reader, reviewer or admin.")] = "reader",
    room: RoomOption = ROOM,
    database: DatabaseOption = "",
) -> None:
    """Make a user, and print the link with which the password is chosen, once, within a day."""
    with errors_in_words(), _opened(room, database, new=True) as opened:
        from marrowscope.store.enums import role_called
        from marrowscope.store.invitations import make_link
        from marrowscope.store.users import make_user

        with opened.store.write() as session:
            user = make_user(session, name, role_called(role))
            secret = make_link(session, user)
        print(f"{user.name} is a {user.role}; to choose a password: {_welcome(secret)}")


@user_app.command("list", epilog="Example:\n\n`marrowscope user list --json`")
def list_users(
    room: RoomOption = ROOM, database: DatabaseOption = "", as_json: JsonOption = False
) -> None:
    """List the users of a reading room."""
    with errors_in_words(), _looking(room, database) as session:
        from marrowscope.store.users import list_users as users_of

        rows = [
            {"name": user.name, "role": user.role.value, "active": "yes" if user.active else "no"}
            for user in users_of(session)
        ]
        _show(rows, as_json, "no users")


@user_app.command(epilog="Example:\n\n`marrowscope user reset ada`")
def reset(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Of the user.")],
    room: RoomOption = ROOM,
    database: DatabaseOption = "",
) -> None:
    """Print a link with which a user chooses a new password; the old one works until then."""
    with errors_in_words(), _opened(room, database) as opened:
        from marrowscope.store.invitations import make_link
        from marrowscope.store.users import user_called

        with opened.store.write() as session:
            user = user_called(session, name)
            secret = make_link(session, user)
        print(f"for {user.name} to choose a password: {_welcome(secret)}")


def _welcome(secret: str) -> str:
    return f"/welcome#{secret} (after the address of the reading room; once, within a day)"


@user_app.command(epilog="Example:\n\n`marrowscope user token ada --name import`")
def token(
    user: Annotated[str, typer.Argument(metavar="USER", help="Whose program it is for.")],
    name: Annotated[str, typer.Option(help="What the token is for, as it will be listed.")],
    room: RoomOption = ROOM,
    database: DatabaseOption = "",
) -> None:
    """Print a token, once, with which a program does what the user may; `/account` revokes it."""
    with errors_in_words(), _opened(room, database) as opened:
        from marrowscope.store.credentials import make_token
        from marrowscope.store.users import user_called

        with opened.store.write() as session:
            secret = make_token(session, user_called(session, user), name)[1]
        print(secret)


@audit_app.command(
    epilog="Example:\n\n`marrowscope audit-log verify`\n\n"
    "Exit codes: 0 the log is whole, 1 an error, 2 wrong usage, 4 the log is broken."
)
def verify(room: RoomOption = ROOM, database: DatabaseOption = "") -> None:
    """Check that no line of the audit log was changed, removed or put in."""
    with errors_in_words(), _looking(room, database) as session:
        from marrowscope.store.audit import count, last_hash
        from marrowscope.store.audit import verify as check

        broken = check(session)
        if broken is None:
            print(f"the audit log is whole: {count(session):,} lines, last {last_hash(session)}")
    if broken is not None:
        print(f"the audit log is broken: {broken.reason}")
        raise typer.Exit(BROKEN)


@audit_app.command(
    "export", epilog="Example:\n\n`marrowscope audit-log export --output audit.jsonl`"
)
def export_log(
    output: Annotated[Path, typer.Option(help="File for one JSON object a line.")],
    case: Annotated[str, typer.Option(help="Of one case alone, by its number.")] = "",
    room: RoomOption = ROOM,
    database: DatabaseOption = "",
) -> None:
    """Write the audit log as lines of JSON."""
    with writing(output), _looking(room, database) as session:
        from marrowscope.io.tables import whole_file
        from marrowscope.store.audit import export as lines_of

        with whole_file(output) as partial, partial.open("w", encoding="utf-8") as file:
            lines = sum(file.write(line + "\n") > 0 for line in lines_of(session, case))
        print(f"{output}: {lines:,} lines")


def queue(
    limit: Annotated[int, typer.Option(min=1, help="Cells to list.")] = 50,
    room: RoomOption = ROOM,
    database: DatabaseOption = "",
    as_json: JsonOption = False,
) -> None:
    """List the cells that nobody looked at whose class would teach the model most."""
    with errors_in_words(), _looking(room, database) as session:
        from marrowscope.store.active_learning import most_worth, waiting_for_a_look

        rows = [asdict(cell) for cell in most_worth(session, limit)]
        _show(rows, as_json, "no cells wait for a look")
        if not as_json and rows:
            print(f"{len(rows):,} of {waiting_for_a_look(session):,} cells nobody looked at")


QUEUE_EPILOG = "Example:\n\n`marrowscope queue --limit 20`"


def _show(rows: Iterable[Mapping[str, Any]], as_json: bool, nothing: str) -> None:
    listed = list(rows)
    if as_json:
        _print_json(listed)
        return
    if not listed:
        print(nothing)
        return
    print("\t".join(listed[0]))
    for row in listed:
        print("\t".join(map(_in_words, row.values())))


def _in_words(value: Any) -> str:
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def _print_json(values: Any) -> None:
    print(json.dumps(values, ensure_ascii=False, indent=2))
