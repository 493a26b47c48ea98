"""What runs a bundle's model: ONNX Runtime, OpenVINO where it is installed, or a GPU."""

import json
import os
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from shutil import which
from typing import Any, Protocol

import numpy as np
import onnxruntime
import psutil
from numpy.typing import NDArray

from marrowscope.errors import BundleError, MissingExtraError, SettingsError
from marrowscope.model.bundle import Bundle

LONGEST_WAIT = 20
"""Seconds in which NVIDIA's tool must answer."""


@cache
def gpus() -> tuple[str, ...]:
    """Name NVIDIA's GPUs and their memory by its own tool, `nvidia-smi`; others are not used."""
    tool = which("nvidia-smi")
    if tool is None:
        return ()
    try:
        done = subprocess.run(  # noqa: S603 - a fixed command
            [tool, "--query-gpu=name,memory.total", "--format=csv,noheader"],
            capture_output=True,
            text=True,
            check=False,
            timeout=LONGEST_WAIT,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ()
    return tuple(done.stdout.strip().splitlines()) if done.returncode == 0 else ()


CLASSES_KEY = "marrowscope.classes"
"""Key of the class list (JSON) in the metadata of the ONNX file."""
CUDA = "CUDAExecutionProvider"
MEMORY_OF_A_CALL = 4e8
"""Bytes, for 16 pictures of 224 pixels: twice what ViT-S takes, about what ViT-B does."""
ENOUGH_TO_MEASURE = 300
"""Cells from which on engines are compared before the work starts."""
WORTH_IT = 1.1
"""How much faster than ONNX Runtime another engine must be, so that chance does not choose."""
TRIAL_CELLS, TRIALS = 8, 3
"""Pictures in a batch with which engines are compared, and how often each runs it."""

Pixels = NDArray[np.uint8]
"""Pictures (N, 3, S, S), red, green, blue, 0..255."""
Array = NDArray[np.float32]


class Engine(Protocol):
    """Runs one model; several threads may call it at once."""

    name: str
    at_once: int
    """Calls at once that make it fastest."""
    gives: tuple[str, ...]
    """Names of the model's outputs."""

    def run(self, pixels: Pixels, outputs: Sequence[str]) -> list[Array]:
        """Give these outputs of the model for pictures."""
        ...


class OnnxRuntime:
    """ONNX Runtime on the processor, one thread a call."""

    name = "onnxruntime"
    providers: tuple[str, ...] = ("CPUExecutionProvider",)

    def __init__(self, bundle: Bundle, threads: int) -> None:
        """Load the model.

        Raises:
            BundleError: the model cannot be loaded or names other classes than the bundle.
        """
        self.at_once = threads
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 3
        try:
            self._session = onnxruntime.InferenceSession(
                bundle.model_file, options, providers=list(self.providers)
            )
        except Exception as error:  # noqa: BLE001 - onnxruntime raises a type of its own for each fault
            raise BundleError(f"{bundle.model_file} cannot be loaded: {error}") from None
        metadata = self._session.get_modelmeta().custom_metadata_map
        _check_classes(bundle, metadata.get(CLASSES_KEY, "[]"))
        self.gives = tuple(output.name for output in self._session.get_outputs())
        given = self._session.get_inputs()[0]
        self._input = given.name
        self._prepare = _preparing(bundle, given.type == "tensor(uint8)")

    def run(self, pixels: Pixels, outputs: Sequence[str]) -> list[Array]:
        """Give these outputs of the model for pictures."""
        return list(self._session.run(list(outputs), {self._input: self._prepare(pixels)}))


class Cuda(OnnxRuntime):
    """ONNX Runtime on an NVIDIA GPU; two calls or more at once: one decodes as another runs."""

    name = "cuda"
    providers = (CUDA, "CPUExecutionProvider")
    install = "pip uninstall onnxruntime; pip install onnxruntime-gpu"

    def __init__(self, bundle: Bundle, threads: int) -> None:
        """Load the model.

        Raises:
            MissingExtraError: this ONNX Runtime was built without CUDA, or cannot use a GPU here.
            BundleError: the model cannot be loaded or names other classes than the bundle.
        """
        if CUDA not in onnxruntime.get_available_providers():
            raise MissingExtraError(
                f"the engine cuda needs ONNX Runtime for GPUs; install it with: {self.install}"
            )
        super().__init__(bundle, max(2, threads))
        if CUDA not in self._session.get_providers():
            raise MissingExtraError(
                "ONNX Runtime can use no GPU here, so the engine cuda would run on the processor; "
                "look whether nvidia-smi names one and its driver fits, or use another engine"
            )


class OpenVino:
    """OpenVINO on the processor, one thread a call, sums in float32."""

    name = "openvino"

    def __init__(self, bundle: Bundle, threads: int) -> None:
        """Load the model.

        Raises:
            MissingExtraError: OpenVINO is not installed.
            BundleError: the model cannot be loaded or names other classes than the bundle.
        """
        if not find_spec("openvino"):
            raise MissingExtraError(
                "the engine openvino needs OpenVINO; install it with: "
                "pip install 'marrowscope[fast]'"
            )
        import openvino

        self.at_once = threads
        settings = {
            "INFERENCE_PRECISION_HINT": "f32",
            "DYNAMIC_QUANTIZATION_GROUP_SIZE": 0,  # 8-bit weights are multiplied as floats
            "NUM_STREAMS": threads,
            "INFERENCE_NUM_THREADS": threads,
            "ENABLE_CPU_PINNING": False,  # else each process of a cluster takes the same core
        }
        try:
            core = openvino.Core()
            model = core.read_model(bundle.model_file)
            self._compiled = core.compile_model(model, "CPU", settings)
        except RuntimeError as error:
            raise BundleError(f"{bundle.model_file} cannot be loaded: {error}") from None
        where = ["framework", CLASSES_KEY]
        there = model.has_rt_info(where)
        _check_classes(bundle, model.get_rt_info(where).astype(str) if there else "[]")
        self.gives = tuple(output.any_name for output in model.outputs)
        given = model.inputs[0]
        self._prepare = _preparing(bundle, given.element_type == openvino.Type.u8)
        self._tensor = openvino.Tensor
        self._own = threading.local()
        self._setting = threading.Lock()
        """OpenVINO 2026.4 hangs where two threads reshape inputs at once."""

    def run(self, pixels: Pixels, outputs: Sequence[str]) -> list[Array]:
        """Give these outputs of the model for pictures."""
        if not hasattr(self._own, "request"):
            self._own.request = self._compiled.create_infer_request()
        request: Any = self._own.request
        tensor = self._tensor(self._prepare(pixels), shared_memory=True)
        with self._setting:
            request.set_input_tensor(tensor)
        request.infer()
        with self._setting:
            return [request.get_tensor(name).data.copy() for name in outputs]


ENGINES: dict[str, Callable[[Bundle, int], Engine]] = {
    "onnxruntime": OnnxRuntime,
    "openvino": OpenVino,
    "cuda": Cuda,
}
"""Engines by name."""


def cores() -> int:
    """Count the processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def calls_that_fit(size: int, free: float) -> int:
    """Say how many calls fit into half of the free memory (bytes) at a side of pictures; 1 or more.

    Of 8 GB free, half holds 10 calls of `MEMORY_OF_A_CALL` at 224 pixels, 40 at 112.
    """
    return max(1, int(free / 2 / (MEMORY_OF_A_CALL * (size / 224) ** 2)))


def load_engine(name: str, bundle: Bundle, threads: int = 0) -> Engine:
    """Load a bundle's model into an engine; 0 threads for one a core, if they fit into memory.

    Raises:
        SettingsError: no engine has this name.
        MissingExtraError: it is not installed.
        BundleError: the model cannot be loaded or names other classes than the bundle.
    """
    if name not in ENGINES:
        raise SettingsError(f"no engine is called {name}; there are {', '.join(ENGINES)}")
    return ENGINES[name](bundle, threads or _threads_that_fit(bundle))


def _threads_that_fit(bundle: Bundle) -> int:
    free = psutil.virtual_memory().available
    return min(cores(), calls_that_fit(bundle.preprocessing.size, free))


def installed() -> list[str]:
    """Name the engines that can be used here."""
    there = {
        "onnxruntime": True,
        "openvino": find_spec("openvino") is not None,
        "cuda": CUDA in onnxruntime.get_available_providers() and bool(gpus()),
    }
    return [name for name in ENGINES if there[name]]


def on_processor() -> list[str]:
    """Name the engines that can be used here and need no GPU."""
    return [name for name in installed() if name != Cuda.name]


def measure(bundle: Bundle, names: Sequence[str], threads: int = 0) -> dict[str, float]:
    """Give the pictures a second that each engine scores here, all threads at work at once.

    Raises:
        SettingsError: no engine has one of these names.
        MissingExtraError: one is not installed.
        BundleError: the model cannot be loaded or names other classes than the bundle.
    """
    size = bundle.preprocessing.size
    random = np.random.default_rng(0)
    pixels = random.integers(0, 256, (TRIAL_CELLS, 3, size, size), dtype=np.uint8)
    engines = [load_engine(name, bundle, threads) for name in names]
    seconds = {engine.name: float("inf") for engine in engines}
    for _ in range(TRIALS):
        for engine in engines:
            start = time.perf_counter()
            _together(engine, pixels)
            took = (time.perf_counter() - start) / engine.at_once
            seconds[engine.name] = min(seconds[engine.name], took)
    return {name: TRIAL_CELLS / took for name, took in seconds.items()}


def _together(engine: Engine, pixels: Pixels) -> None:
    with ThreadPoolExecutor(engine.at_once) as pool:
        list(pool.map(lambda _: engine.run(pixels, ["logits"]), range(engine.at_once)))


@dataclass(frozen=True)
class Choice:
    """An engine, and the pictures a second of each that it was chosen from, if any was measured."""

    name: str
    rates: dict[str, float]

    @property
    def in_words(self) -> str:
        """Say what was chosen, and by which figures."""
        rates = ", ".join(f"{name} {rate:.1f}" for name, rate in self.rates.items())
        return f"engine: {self.name}" + (f" (cells a second here: {rates})" if rates else "")


def choose_engine(bundle: Bundle, cells: int, name: str = "", threads: int = 0) -> Choice:
    """Choose an engine for a number of cells: the one that is asked for, or the fastest here.

    What is installed is measured only where there are cells enough to repay it. For a few, ONNX
    Runtime starts fastest. A name that is asked for is not looked at here, but by `load_engine`.

    Raises:
        BundleError: engines are measured, and the model cannot be loaded or names other classes
            than the bundle.
    """
    names = installed()
    if name or len(names) == 1 or cells < ENOUGH_TO_MEASURE:
        return Choice(name or names[0], {})
    return best_of(measure(bundle, names, threads))


def best_of(rates: dict[str, float]) -> Choice:
    """Choose the fastest engine, given the pictures a second of each, ONNX Runtime's first.

    Of `{"onnxruntime": 10.0, "openvino": 10.5}` that is still ONNX Runtime.
    """
    usual = next(iter(rates))
    best = max(rates, key=lambda name: rates[name])
    return Choice(best if rates[best] >= WORTH_IT * rates[usual] else usual, rates)


def _preparing(bundle: Bundle, takes_bytes: bool) -> Callable[[Pixels], NDArray[Any]]:
    """Give what turns pictures into the model's input; models of older bundles take floats."""
    if takes_bytes:
        return np.ascontiguousarray
    return lambda pixels: np.ascontiguousarray(bundle.preprocessing.normalise(pixels))


def _check_classes(bundle: Bundle, stored: str) -> None:
    try:
        classes = tuple(json.loads(stored))
    except (ValueError, TypeError):
        classes = ()
    if classes != bundle.classes:
        raise BundleError(
            f"{bundle.model_file} was made for the classes {stored}, "
            f"its bundle names {list(bundle.classes)}; export the bundle again"
        )
