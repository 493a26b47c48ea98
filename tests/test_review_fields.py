"""Whole fields in the store: kept, looked at, cells drawn and removed, counted, signed."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from alembic import command
from PIL import Image
from sqlalchemy import create_engine, text
from store_fixtures import BUNDLE, people, reading
from test_fields_read import UM, a_field

from marrowscope.cases.case import read_case as read_case_file
from marrowscope.detection.crops import side_of
from marrowscope.errors import (
    ConflictError,
    DeniedError,
    FrozenError,
    NotThereError,
    StoreError,
)
from marrowscope.io.images import decode_image
from marrowscope.store.audit import entries, verify
from marrowscope.store.blobs import Blobs
from marrowscope.store.boxes import (
    boxes_on,
    cells_by_field,
    draw_cell,
    place_drawn,
    remove_cell,
    restore_cell,
)
from marrowscope.store.case_model import name_model
from marrowscope.store.cases import Facts, delete_case, find_case, make_case
from marrowscope.store.cells import case_progress, keep_readings, waiting
from marrowscope.store.database import config_for, open_store
from marrowscope.store.decisions import decide
from marrowscope.store.detect import cut_out, look
from marrowscope.store.enums import CellState, FieldState, Origin
from marrowscope.store.export_labels import export_reviewed
from marrowscope.store.fields import (
    FIND,
    Cut,
    NewField,
    Outcome,
    add_fields,
    cell_scales,
    fields_by_state,
    find_field,
    keep_found,
    list_fields,
    look_again,
    neighbours_scale,
    next_field,
)
from marrowscope.store.import_case import bring
from marrowscope.store.jobs import take_job
from marrowscope.store.live_count import count_case
from marrowscope.store.signing import mark_reviewed, seal_holds, sign
from marrowscope.store.tables import Case, Field, User
from marrowscope.store.users import user_called
from marrowscope.store.workspace import Room, open_room, sweep
from marrowscope.types import Place


def cut(number: int) -> Cut:
    """A cell of a field, whose crop differs from those of other numbers."""
    place = Place("1.png", 100 * number, 20, 100 * number + 60, 80, UM)
    return Cut(place, f"{number + 1:064x}", 250)


FOUND = Outcome(FieldState.FOUND, UM, "red cells", (), "", (cut(0), cut(1), cut(2)))


@pytest.fixture
def room(database: str, tmp_path: Path) -> Iterator[Room]:
    with closing(open_room(tmp_path / "room", database)) as opened:
        with opened.store.write() as session:
            people(session)
        yield opened


def looked(room: Room) -> tuple[Case, User, Field]:
    """A case with a field on which three cells were found, and read by a model that is none."""
    with room.store.write() as session:
        ada = user_called(session, "Ada")
        case = make_case(session, ada, Facts("A-1"))
        add_fields(session, ada, case, "1", [NewField("1.png", "a" * 64, 750, 250)])
        field = next_field(session, case)
        assert field
        assert keep_found(session, case, field.id, FOUND) == 3
        name_model(session, case, BUNDLE)
        outcomes = {cell.id: reading(number) for number, cell in enumerate(waiting(session, case))}
        keep_readings(session, case, BUNDLE, outcomes)
    return case, ada, field


def test_a_database_of_the_first_version_is_brought_forward_with_its_rows(database: str) -> None:
    url = database.replace("postgresql://", "postgresql+psycopg://")
    engine = create_engine(url)
    with engine.begin() as connection:
        command.upgrade(config_for(connection), "0001")
        connection.execute(
            text(
                "INSERT INTO users (id, name, folded, role, password_hash, active, created_at) "
                "VALUES (7, 'Ada', 'ada', 'reviewer', '', true, '2026-03-02')"
            )
        )
        connection.execute(
            text(
                "INSERT INTO cases (id, public_id, title, date, material, stain, state, owner_id, "
                "version, bundle, model_sha256, classes, created_at, changed_at, seal) VALUES "
                "(9, 'a1', 'A-1', '', '', '', 'draft', 7, 1, 'default', :weights, '[]', "
                "'2026-03-02', '2026-03-02', '')"
            ),
            {"weights": "a" * 64},
        )
    engine.dispose()
    with closing(open_store(database)) as store, store.read() as session:
        assert user_called(session, "ada").id == 7
        assert session.scalar(text("SELECT count(*) FROM fields")) == 0
        case = session.get_one(Case, 9)
        assert (case.model_sha256, case.bundle_sha256) == ("a" * 64, "")
        assert session.scalar(text("SELECT version_num FROM alembic_version")) == "0003"


def test_cells_on_a_field_are_cells_of_the_case(room: Room) -> None:
    case, ada, field = looked(room)
    with room.store.read() as session:
        case = find_case(session, ada, case.public_id)
        field = find_field(session, case, field.id)
        assert (field.state, field.scale, field.um_per_px) == (FieldState.FOUND, "red cells", UM)
        boxes = boxes_on(session, field)
        assert [box.cell.file for box in boxes] == [
            "1.png at 30, 50",
            "1.png at 130, 50",
            "1.png at 230, 50",
        ]
        assert {box.origin for box in boxes} == {Origin.FOUND}
        assert cell_scales(session, case, [box.cell for box in boxes]) == {
            box.cell_id: UM for box in boxes
        }
        assert cells_by_field(session, case) == {field.id: (3, 0)}
        assert count_case(session, case, BUNDLE).differential.counted == 3
        actions = [entry.action for entry in entries(session, case.public_id)]
        assert actions == ["case add", "fields add", "field look"]
        assert verify(session) is None


def test_a_field_is_added_and_looked_at_once(room: Room) -> None:
    case, ada, field = looked(room)
    with room.store.write() as session:
        case = find_case(session, ada, case.public_id)
        again = add_fields(session, ada, case, "2", [NewField("other.png", "a" * 64, 750, 250)])
        assert (again.new, again.known) == (0, 1)
        assert keep_found(session, case, field.id, FOUND) == 0
        assert next_field(session, case) is None
        with pytest.raises(NotThereError, match="has no field 99"):
            find_field(session, case, 99)
        with pytest.raises(
            ConflictError, match="is found; only one that is flagged or rejected is l"
        ):
            look_again(session, ada, case, find_field(session, case, field.id))


def test_a_removed_cell_is_not_counted_until_it_is_restored(room: Room) -> None:
    case, ada, field = looked(room)
    with room.store.write() as session:
        case = find_case(session, ada, case.public_id)
        before = count_case(session, case, BUNDLE).differential
        cell = boxes_on(session, find_field(session, case, field.id))[0].cell
        remove_cell(session, ada, case, cell)
        assert (cell.state, cell.reason) == (
            CellState.REJECTED,
            "removed by Ada: no cell to be counted",
        )
        assert count_case(session, case, BUNDLE).differential.counted == before.counted - 1
        assert cells_by_field(session, case) == {field.id: (2, 1)}
        with pytest.raises(ConflictError, match="is removed already"):
            remove_cell(session, ada, case, cell)
        restore_cell(session, ada, case, cell)
        assert count_case(session, case, BUNDLE).differential == before
        with pytest.raises(ConflictError, match="is not removed"):
            restore_cell(session, ada, case, cell)
        lines = [(entry.action, entry.cell) for entry in entries(session, case.public_id)][-2:]
        assert lines == [("cell remove", str(cell.id)), ("cell restore", str(cell.id))]
        assert verify(session) is None


def test_a_missed_cell_is_drawn_and_waits_to_be_read(room: Room) -> None:
    case, ada, field = looked(room)
    with room.store.write() as session:
        case = find_case(session, ada, case.public_id)
        field = find_field(session, case, field.id)
        place = place_drawn(field, 700, 200, 640, 130)
        assert (place.x0, place.y0, place.x1, place.y1) == (640, 130, 700, 200)
        drawn = Cut(place, "d" * 64, 250)
        cell = draw_cell(session, ada, case, field, drawn)
        assert cell.state is CellState.WAITING
        assert case_progress(session, case).waiting == 1
        with pytest.raises(ConflictError, match="this very box is there already"):
            draw_cell(session, ada, case, field, drawn)
        with pytest.raises(StoreError, match="at least 8 pixels a side within the field"):
            place_drawn(field, 745, 100, 900, 200)
        with pytest.raises(ConflictError, match="cells of the case A-1 wait to be read"):
            mark_reviewed(session, ada, case, case.version)


def test_who_may_not_and_what_is_signed_stays_as_it_is(room: Room) -> None:
    case, ada, field = looked(room)
    with room.store.write() as session:
        rita = user_called(session, "Rita")
        case = find_case(session, ada, case.public_id)
        field = find_field(session, case, field.id)
        cell = boxes_on(session, field)[0].cell
        for deed in (remove_cell, restore_cell):
            with pytest.raises(DeniedError):
                deed(session, rita, case, cell)
        mark_reviewed(session, ada, case, case.version)
        sign(session, ada, case, case.version)
        assert seal_holds(session, case)
        with pytest.raises(FrozenError):
            remove_cell(session, ada, case, cell)
        with pytest.raises(FrozenError):
            draw_cell(session, ada, case, field, Cut(place_drawn(field, 0, 0, 9, 9), "d" * 64, 9))
        with pytest.raises(FrozenError):
            add_fields(session, ada, case, "1", [NewField("2.png", "b" * 64, 9, 9)])


def test_a_case_with_fields_that_wait_is_not_reviewed(room: Room) -> None:
    case, ada, _ = looked(room)
    with room.store.write() as session:
        case = find_case(session, ada, case.public_id)
        add_fields(session, ada, case, "1", [NewField("2.png", "b" * 64, 750, 250)])
        with pytest.raises(ConflictError, match="1 fields of the case A-1 wait to be looked at"):
            mark_reviewed(session, ada, case, case.version)


def test_a_flagged_field_is_read_only_once_a_person_says_so(room: Room) -> None:
    case, ada, _ = looked(room)
    with room.store.write() as session:
        case = find_case(session, ada, case.public_id)
        add_fields(session, ada, case, "1", [NewField("2.png", "b" * 64, 750, 250)])
        field = next_field(session, case)
        assert field
        keep_found(session, case, field.id, Outcome(FieldState.FLAGGED, UM, "given", ("blurred",)))
        assert fields_by_state(session, case)[FieldState.FLAGGED] == 1
        assert field.flags == ["blurred"]
        look_again(session, ada, case, field)
        assert next_field(session, case) is field
        assert field.keep_flagged
        keep_found(session, case, field.id, Outcome(FieldState.REJECTED, reason="no smear"))
        look_again(session, ada, case, field)
        assert next_field(session, case) is field


def test_reviewed_cells_of_fields_go_to_training_with_their_own_scale(
    room: Room, tmp_path: Path
) -> None:
    case, ada, field = looked(room)
    with room.store.write() as session:
        case = find_case(session, ada, case.public_id)
        rows = [box.cell for box in boxes_on(session, find_field(session, case, field.id))]
        for row in rows:
            row.sha256 = room.blobs.put(str(row.id).encode())
        decide(session, ada, case, [row.id for row in rows], "LYT")
        remove_cell(session, ada, case, rows[0])
        mark_reviewed(session, ada, case, case.version)
        assert export_reviewed(session, room.blobs, tmp_path / "cells.csv").cells == 2
    text_of = (tmp_path / "cells.csv").read_text()
    assert "a" * 64 in text_of
    assert str(UM) in text_of


def test_fields_of_one_size_tell_each_other_their_scale(room: Room) -> None:
    case, ada, _ = looked(room)
    with room.store.write() as session:
        case = find_case(session, ada, case.public_id)
        more = [NewField(f"{n}.png", f"{n:064x}", 750, 250) for n in range(4)]
        more.append(NewField("wide.png", "c" * 64, 751, 250))
        add_fields(session, ada, case, "1", more)
        for scale in (0.1, 0.12):
            waiting_one = next_field(session, case)
            assert waiting_one
            assert neighbours_scale(session, case, waiting_one) is None
            outcome = Outcome(FieldState.FOUND, scale, "red cells")
            keep_found(session, case, waiting_one.id, outcome)
        third, fourth, wide = list_fields(session, case)[3:]
        assert neighbours_scale(session, case, third) == 0.1
        assert neighbours_scale(session, case, fourth) == 0.1
        assert neighbours_scale(session, case, wide) is None


def test_a_deleted_case_takes_its_fields_and_boxes_with_it(room: Room) -> None:
    case, ada, _ = looked(room)
    with room.store.write() as session:
        delete_case(session, ada, find_case(session, ada, case.public_id), "A-1")
    with room.store.read() as session:
        assert session.scalar(text("SELECT count(*) FROM fields")) == 0
        assert session.scalar(text("SELECT count(*) FROM places")) == 0


def test_a_folder_of_fields_becomes_a_case_whose_cells_are_cut_out(
    room: Room, tmp_path: Path
) -> None:
    a_field(tmp_path / "scan")
    Image.new("RGB", (30, 30)).save(tmp_path / "scan/small.png")
    brought = bring(room, "Ada", read_case_file(tmp_path / "scan", UM, fields=True))
    assert (brought.added.new, brought.fields.new, len(brought.rejects)) == (0, 1, 1)
    with room.store.write() as session:
        assert take_job(session, "w", ["read"]) is None
        job = take_job(session, "w", [FIND])
        assert job
        case = session.get_one(Case, job.case_id)
        field = next_field(session, case)
        assert field
        outcome = look(room.blobs, field, (case.um_per_px, None), 21.5, 100)
        assert (outcome.state, outcome.scale) == (FieldState.FOUND, "given")
        keep_found(session, case, field.id, outcome)
        cells = waiting(session, case)
        assert len(cells) == len(outcome.cells) > 0
        crops = [decode_image(room.blobs.read(cell.sha256)) for cell in cells]
        assert {crop.size for crop in crops} == {(side_of(UM, 21.5),) * 2}
        place = place_drawn(field, 10, 10, 60, 60)
        assert cut_out(room.blobs, field, place, 0).side == 250
        full = look(room.blobs, field, (case.um_per_px, None), 21.5, 0)
        assert full.state is FieldState.REJECTED
        assert "the case has room for 0 more" in full.reason
    assert sweep(room, older=-60) == 1
    """The crop that no cell has; the field stays."""
    with room.store.read() as session:
        assert list_fields(session, case)[0].sha256 in room.blobs


def test_a_field_that_is_no_picture_is_of_no_use(tmp_path: Path) -> None:
    blobs = Blobs(tmp_path / "blobs")
    field = Field(file="a.png", sha256=blobs.put(b"no picture"), width=9, height=9)
    outcome = look(blobs, field, (None, None), 21.5, 100)
    assert outcome.state is FieldState.REJECTED
    assert str(tmp_path) not in outcome.reason
