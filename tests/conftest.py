"""Real cells, a real network made tiny, and what training, export and evaluation make of them."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest
import s3fs
import torch
from moto.server import ThreadedMotoServer
from PIL import Image
from servers import postgres, server_folder
from sqlalchemy import create_engine, make_url, text
from transformers import Dinov2Config, Dinov2Model

from marrowscope.data.manifest import Manifest, read_manifest
from marrowscope.data.partition import divide
from marrowscope.data.split import Split
from marrowscope.data.split_plan import SplitPlan
from marrowscope.io.hashes import file_hash
from marrowscope.model.bundle import Bundle, load_bundle, write_description
from marrowscope.store.database import Store, open_store
from marrowscope.train.export import export
from marrowscope.train.fit import Trained, fit
from marrowscope.train.run import read_run
from marrowscope.train.settings import TrainSettings

if TYPE_CHECKING:
    from browsers import Served
    from playwright.sync_api import Browser, Page

ROOT = Path(__file__).parents[1]
SAMPLES = ROOT / "samples"
PATIENCE_S = 300
"""Seconds that tests wait for what must come; a busy machine is slow, not wrong."""
SIDE = 220
"""Side of planted crops, in pixels."""
Planted = dict[tuple[Path, Path], tuple[int, int]]
"""Pairs of crops of one picture, and the shift from the first to the second."""


@pytest.fixture(scope="session")
def manifest() -> Manifest:
    return read_manifest(SAMPLES / "cells.csv")


@pytest.fixture(scope="session")
def split(manifest: Manifest) -> Split:
    return divide(manifest.cells, plan=SplitPlan(min_stratum=10))


@pytest.fixture(scope="session")
def toy_network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A DINOv2 with two narrow blocks and random weights, saved as transformers saves it."""
    folder = tmp_path_factory.mktemp("network")
    torch.manual_seed(0)
    config = Dinov2Config(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=2, image_size=56, patch_size=14
    )
    Dinov2Model(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def toy_settings(toy_network: Path) -> TrainSettings:
    return TrainSettings(
        model=str(toy_network),
        min_images=9,
        size=56,
        unfreeze_blocks=1,
        epochs=2,
        batch_size=12,
        head_learning_rate=1e-2,
        threads=1,
        precision="fp32",
        log="none",
    )


@pytest.fixture(scope="session")
def toy_run(
    manifest: Manifest,
    split: Split,
    toy_settings: TrainSettings,
    tmp_path_factory: pytest.TempPathFactory,
) -> Trained:
    """Fourteen steps of training on the sample cells, the last of each epoch not a full one."""
    return fit(manifest, split, toy_settings, tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="session")
def exported(
    toy_run: Trained, manifest: Manifest, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    folder = tmp_path_factory.mktemp("exported")
    export(read_run(toy_run.folder), manifest, folder, "toy", attribution=["sample cells"])
    return folder


@pytest.fixture
def toy_bundle(exported: Path, tmp_path: Path) -> Bundle:
    """A bundle of its own for each test, as tests change it."""
    shutil.copytree(exported, tmp_path / "toy")
    return load_bundle(str(tmp_path / "toy"))


@pytest.fixture
def bare_bundle(toy_bundle: Bundle) -> Bundle:
    """A bundle as it was before there were explanations and known cells: logits alone."""
    model = onnx.load(str(toy_bundle.model_file))
    del model.graph.output[1:]
    onnx.save(model, str(toy_bundle.model_file))
    for name in ("references.npz", "known-cells.zip"):
        (toy_bundle.folder / name).unlink()
    hashed = file_hash(toy_bundle.model_file)
    write_description(replace(toy_bundle, novelty=None, model_sha256=hashed))
    return load_bundle(str(toy_bundle.folder))


@pytest.fixture(scope="session")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Planted:
    """Two crops of each blood cell picture, shifted at random and encoded anew, in class folders.

    The second crop shares 30% to 70% of the first one's pixels.
    """
    folder = tmp_path_factory.mktemp("planted")
    random = np.random.default_rng(0)
    pairs = {}
    for number, file in enumerate(sorted((SAMPLES / "cells/pbc").rglob("*.jpg"))):
        whole = Image.open(file)
        room = min(whole.size) - SIDE
        dx, dy = (int(step) for step in random.integers(30, min(room, 90), 2))
        left, top = (int(random.integers(0, room - step + 1)) for step in (dx, dy))
        names = folder / "LYT" / f"{number}_a.jpg", folder / "MON" / f"{number}_b.jpg"
        for name, (x, y) in zip(names, ((left, top), (left + dx, top + dy)), strict=True):
            name.parent.mkdir(exist_ok=True)
            crop = whole.crop((x, y, x + SIDE, y + SIDE))
            crop.save(name, quality=int(random.integers(85, 96)), subsampling=0)
        pairs[names] = (dx, dy)
    return pairs


@pytest.fixture(scope="session")
def server() -> Iterator[str]:
    """URL of a PostgreSQL server that runs for these tests alone."""
    binaries = server_folder()
    if binaries is None:
        pytest.skip("left out: PostgreSQL, as no initdb and postgres were found on this machine")
    with tempfile.TemporaryDirectory() as folder, postgres(binaries, Path(folder)) as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """URL of an empty database on each engine."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'room.db'}"
    url = make_url(request.getfixturevalue("server")).set(drivername="postgresql+psycopg")
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    name = f"room_{abs(hash(tmp_path))}"
    with engine.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    engine.dispose()
    return url.set(drivername="postgresql", database=name).render_as_string(hide_password=False)


@pytest.fixture
def store(database: str) -> Iterator[Store]:
    """An empty store on each engine."""
    with closing(open_store(database)) as opened:
        yield opened


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[s3fs.S3FileSystem]:
    """A real S3 server on this machine, with an empty bucket `smears`."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        patch.setenv("AWS_ACCESS_KEY_ID", "nobody")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "nothing")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        patch.setenv("AWS_CONFIG_FILE", str(tmp_path_factory.mktemp("aws") / "none"))
        s3fs.S3FileSystem.clear_instance_cache()
        store = s3fs.S3FileSystem()
        store.mkdir("smears")
        yield store
        s3fs.S3FileSystem.clear_instance_cache()
    server.stop()


@pytest.fixture(scope="module")
def browser() -> Iterator["Browser"]:
    """A real browser; where there is none, the test is left out and says so."""
    from browsers import a_browser

    with a_browser() as running:
        yield running


@pytest.fixture
def room(tmp_path: Path, toy_bundle: Bundle) -> Iterator["Served"]:
    """A reading room that answers at an address."""
    from browsers import served

    with served(tmp_path, toy_bundle) as running:
        yield running


@pytest.fixture
def page(browser: "Browser") -> Iterator["Page"]:
    """A wide page of the browser, in which no script fails."""
    from browsers import WIDE, new_context

    context = new_context(browser, viewport={"width": WIDE[0], "height": WIDE[1]})
    shown = context.new_page()
    wrong: list[str] = []
    shown.on("pageerror", lambda error: wrong.append(str(error)))
    yield shown
    context.close()
    assert wrong == []
