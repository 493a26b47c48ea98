"""What this machine has, which engine it will use, how fast that is, and what is missing."""

import platform
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from PIL import Image

from marrowscope import __version__
from marrowscope.inference.backends import Cuda, best_of, cores, gpus, installed, measure
from marrowscope.inference.predictor import Predictor
from marrowscope.model.bundle import Bundle
from marrowscope.model.signature import signature_in_words
from marrowscope.types import Picture

WORTH_KNOWING = (
    "avx2", "avx512f", "avx_vnni", "avx512_vnni", "avx512_bf16", "amx_int8", "amx_bf16",
    "asimd", "asimddp", "i8mm", "bf16", "sve",
)  # fmt: skip
"""Instruction sets that decide how fast networks run, as processors name them."""
EXTRAS: dict[str, tuple[str, ...]] = {
    "fast": ("openvino",),
    "sign": ("cryptography",),
    "data": ("cv2", "pyarrow", "simplejpeg"),
    "train": (
        *("accelerate", "huggingface_hub", "onnx", "onnxscript", "optuna", "safetensors"),
        *("tensorboard", "torch", "transformers"),
    ),
    "slides": ("imagecodecs", "openslide", "tifffile"),
    "stores": ("fsspec", "s3fs"),
    "scale": ("fsspec", "pyarrow", "ray", "s3fs"),
    "web": (
        *("alembic", "argon2", "fastapi", "prometheus_client", "python_multipart"),
        *("sqlalchemy", "uvicorn"),
    ),
    "postgres": ("psycopg",),
}
"""Optional parts that are looked for, and the modules that each needs."""
TRIAL_CELLS, TRIAL_PIXELS = 96, 250


@dataclass(frozen=True)
class Machine:
    """Processor, memory and GPUs."""

    system: str
    python: str
    processor: str
    cores: int
    instructions: tuple[str, ...]
    """Those of `WORTH_KNOWING` that it has."""
    memory_gb: float
    memory_free_gb: float
    gpus: tuple[str, ...]


@dataclass(frozen=True)
class Examined:
    """The machine, the engine it will use for a bundle, its speed, and what is missing."""

    marrowscope: str
    machine: Machine
    bundle: str
    bundle_sha256: str
    """Of the whole bundle."""
    signature: str
    """Who vouches for it, in words."""
    precision: str
    engine: str
    engine_rates: dict[str, float]
    """Pictures a second that each installed engine scores."""
    cells_per_second: float
    """From JPEG files to predictions, with that engine, on all cores."""
    missing: dict[str, str]
    """What could be installed besides, and how."""


def examine(bundle: Bundle) -> Examined:
    """Look at the machine and measure it with a bundle; takes seconds.

    Raises:
        BundleError: the bundle's model or known cells cannot be loaded; or keys are trusted, and
            none of them signed it, or its signature or a key cannot be read.
        MissingExtraError: it is signed, keys are trusted, and the extra `sign` is not installed.
    """
    here = machine()
    choice = best_of(measure(bundle, installed()))
    return Examined(
        marrowscope=__version__,
        machine=here,
        bundle=bundle.name,
        bundle_sha256=bundle.sha256,
        signature=signature_in_words(bundle.folder, bundle.sha256),
        precision=bundle.precision,
        engine=choice.name,
        engine_rates=choice.rates,
        cells_per_second=cells_per_second(bundle, choice.name),
        missing=dict(missing(here.gpus)),
    )


def machine() -> Machine:
    """Name the processor, the memory and the GPUs."""
    processor = _processor()
    flags = set(processor.get("flags", ()))
    memory = psutil.virtual_memory()
    return Machine(
        system=f"{platform.system()} {platform.machine()}",
        python=platform.python_version(),
        processor=str(processor.get("brand_raw") or platform.processor() or "unknown"),
        cores=cores(),
        instructions=tuple(name for name in WORTH_KNOWING if name in flags),
        memory_gb=memory.total / 1e9,
        memory_free_gb=memory.available / 1e9,
        gpus=gpus(),
    )


def _processor() -> dict[str, Any]:
    from cpuinfo import get_cpu_info

    return dict(get_cpu_info())


def missing(gpus_there: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Give those of `EXTRAS` that are not there, and what GPUs need, with their install lines."""
    for extra, modules in EXTRAS.items():
        absent = [name for name in modules if find_spec(name) is None]
        if absent:
            yield f"{extra} ({', '.join(absent)})", f"pip install 'marrowscope[{extra}]'"
    if gpus_there and Cuda.name not in installed():
        yield "GPU", Cuda.install


def cells_per_second(bundle: Bundle, engine: str) -> float:
    """Measure how many JPEG files of 250 x 250 pixels become predictions in a second, on all cores.

    Raises:
        SettingsError: no engine has this name.
        MissingExtraError: the engine is not installed.
        BundleError: the bundle's model or known cells cannot be loaded.
    """
    with tempfile.TemporaryDirectory() as folder:
        files = list(_pictures(Path(folder), bundle))
        predictor = Predictor(bundle, engine=engine)
        list(predictor.classify(files[: TRIAL_CELLS // 3]))  # the first calls are slower
        start = time.perf_counter()
        list(predictor.classify(files))
        return TRIAL_CELLS / (time.perf_counter() - start)


def _pictures(folder: Path, bundle: Bundle) -> Iterator[Picture]:
    """Write pictures of noise, which are no easier to decode than cells."""
    random = np.random.default_rng(0)
    scale = bundle.preprocessing.field_um / TRIAL_PIXELS or None
    for number in range(TRIAL_CELLS):
        coarse = random.integers(0, 256, (32, 32, 3), dtype=np.uint8)
        picture = Image.fromarray(coarse).resize((TRIAL_PIXELS, TRIAL_PIXELS))
        picture.save(folder / f"{number}.jpg", quality=95)
        yield Picture(folder / f"{number}.jpg", scale)
