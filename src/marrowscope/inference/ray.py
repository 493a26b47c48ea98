"""Classify cells on many processors or machines at once: Ray Data, with the same predictor."""

import logging
import os
import socket
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import replace
from importlib import import_module
from itertools import chain, islice
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Any, Self

from marrowscope import __version__
from marrowscope.errors import ClusterError, MissingExtraError
from marrowscope.inference.predictor import BATCH_SIZE, Outcome, Predictor
from marrowscope.io.archives import arrow
from marrowscope.locations import Location, location_of
from marrowscope.model.bundle import Bundle, load_bundle
from marrowscope.model.signature import SIGNATURE, is_signed
from marrowscope.types import Found, Picture, Place, Prediction, Reject

LOCAL = "local"
"""Stands for a cluster of this machine alone, made for one classification."""
BATCHES_A_BLOCK = 4
"""What a worker gets at a time, and what is read again when it dies."""
CELLS_AT_ONCE = 2**16
"""Names of cells in Ray's hands at a time: memory does not grow with their number."""
PATIENCE_S = 600
"""How long to wait for a block; one whose pictures kill each worker that gets it ends the work."""
KNOCK_S = 10
STARTS = 5
"""How often a node of this machine is started before that counts as an error."""
OBJECTS_BYTES = 2**28
"""Memory for what passes between the processes of a local cluster."""


class ClusterPredictor:
    """Classifies cells with one bundle on a Ray cluster: one model a worker, one thread each.

    Only names travel to the workers, which read the pictures themselves: on several machines they
    must lie in a store or in a folder that all of them see. The bundle travels with the work.
    """

    def __init__(
        self, bundle: Bundle, address: str = LOCAL, workers: int = 0, engine: str = "onnxruntime"
    ) -> None:
        """Join a cluster, or start one; `workers` is the most there are, 0 for one a processor.

        Raises:
            MissingExtraError: Ray or pyarrow is not installed.
            ClusterError: there is no cluster at this address.
        """
        arrow()
        self.bundle = bundle
        self._engine = engine
        self._ray = _ray()
        _join(self._ray, address, workers)
        processors = int(self._ray.cluster_resources().get("CPU", 1))
        self._workers = min(workers or processors, processors)
        self._content = self._ray.put(_content(bundle))
        self._failures = (
            self._ray.exceptions.RayError,
            self._ray.data.exceptions.ExecutionTimeoutError,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ray.shutdown()

    def classify(
        self, inputs: Iterable[Found], batch_size: int = BATCH_SIZE
    ) -> Generator[Outcome, None, None]:
        """Classify pictures as `Predictor.classify` does: the same outcomes in the same order.

        When a worker dies, the block that it had in hand is read again by another.

        Raises:
            ClusterError: the workers cannot start or go on, or nothing came back for ten minutes.
        """
        rest = iter(inputs)
        while some := list(islice(rest, CELLS_AT_ONCE)):
            try:
                yield from self._classify(some, batch_size)
            except self._failures as error:
                raise ClusterError(
                    f"the cluster gave up: {_in_words(error)}; what was read is kept, go on with "
                    "--resume"
                ) from error

    def _classify(self, inputs: Sequence[Found], batch_size: int) -> Iterator[Outcome]:
        _set_up(self._ray.data.DataContext.get_current())
        size = BATCHES_A_BLOCK * batch_size
        blocks = [inputs[start : start + size] for start in range(0, len(inputs), size)]
        data = self._ray.data.from_arrow_refs([self._ray.put(_as_table(block)) for block in blocks])
        read = data.map_batches(
            Worker,
            fn_constructor_args=[[self._content], __version__, self._engine, batch_size],
            batch_size=None,
            batch_format="pyarrow",
            compute=self._ray.data.ActorPoolStrategy(size=min(self._workers, len(blocks))),
            num_cpus=1,
        )
        tables = read.iter_batches(batch_size=None, batch_format="pyarrow")
        rows = chain.from_iterable(table.to_pylist() for table in tables)
        for row, item in zip(rows, inputs, strict=True):
            yield _outcome(row, item)


class Worker:
    """What runs on a worker: a predictor, from a bundle's content."""

    def __init__(self, content: list[Any], version: str, engine: str, batch_size: int) -> None:
        """Load the model; `content` has one reference, to the files of a bundle by their names.

        Raises:
            ClusterError: this machine has another marrowscope.
            BundleError, SettingsError, MissingExtraError: as `load_bundle` and `Predictor` raise
                them here; the bundle must be signed by a key that this machine trusts, if it
                trusts any.
        """
        if version != __version__:
            raise ClusterError(
                f"a worker has marrowscope {__version__}, and this is {version}; install the same "
                "on all machines"
            )
        with TemporaryDirectory(prefix="marrowscope-") as folder:
            for name, held in _ray().get(content[0]).items():
                Path(folder, name).write_bytes(held)
            self._predictor = Predictor(load_bundle(folder), threads=1, engine=engine)
        self._batch_size = batch_size

    def __call__(self, table: Any) -> Any:
        """Classify the cells that a table names; give a table of outcomes."""
        rows = table.to_pylist()
        outcomes = self._predictor.classify(map(_found, rows), self._batch_size)
        named = [
            replace(outcome, path=row["path"]) for row, outcome in zip(rows, outcomes, strict=True)
        ]
        return _as_outcomes(named)


def _as_table(inputs: Iterable[Found]) -> Any:
    """Name cells for a worker, whose working folder is another."""
    pa = arrow()
    text, number = pa.string(), pa.float64()
    schema = {"path": text, "reason": text, "location": text, "um_per_px": number}
    schema |= {"field": text, "box": pa.list_(pa.int64())}
    return pa.Table.from_pylist([_row(item) for item in inputs], schema=pa.schema(schema))


def _row(item: Found) -> dict[str, Any]:
    if isinstance(item, Reject):
        return vars(item)
    row = {"path": str(item.path), "location": _wherever(item.path), "um_per_px": item.um_per_px}
    return row | (_place(item.place) if item.place else {})


def _place(place: Place) -> dict[str, Any]:
    box = [place.x0, place.y0, place.x1, place.y1]
    return {"field": _wherever(Path(place.field)), "box": box, "um_per_px": place.um_per_px}


def _wherever(location: Location) -> str:
    return str(location.absolute()) if isinstance(location, Path) else location


def _found(row: dict[str, Any]) -> Found:
    if row["reason"] is not None:
        return Reject(row["path"], row["reason"])
    place = None
    if row["field"] is not None:
        x0, y0, x1, y1 = row["box"]
        place = Place(row["field"], x0, y0, x1, y1, row["um_per_px"])
    return Picture(location_of(row["location"]), row["um_per_px"], place)


def _as_outcomes(outcomes: Iterable[Outcome]) -> Any:
    pa = arrow()
    text, number = pa.string(), pa.float64()
    schema = {"path": text, "reason": text, "label": text, "probability": number}
    schema |= {"probabilities": pa.list_(number), "novelty": number}
    rows = [
        {name: value for name, value in vars(outcome).items() if name in schema}
        for outcome in outcomes
    ]
    return pa.Table.from_pylist(rows, schema=pa.schema(schema))


def _outcome(row: dict[str, Any], item: Found) -> Outcome:
    if row["reason"] is not None or isinstance(item, Reject):
        return Reject(row["path"], row["reason"])
    return Prediction(
        row["path"],
        row["label"],
        row["probability"],
        tuple(row["probabilities"]),
        novelty=row["novelty"],
        place=item.place,
    )


def _content(bundle: Bundle) -> dict[str, bytes]:
    signature = (SIGNATURE,) if is_signed(bundle.folder) else ()
    return {name: (bundle.folder / name).read_bytes() for name in (*bundle.files, *signature)}


def _ray() -> Any:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is sent to Ray's makers
    try:
        import_module("ray.data")
    except ImportError:
        raise MissingExtraError(
            "--ray needs Ray; install it with: pip install 'marrowscope[scale]'"
        ) from None
    return import_module("ray")


def _join(ray: Any, address: str, workers: int) -> None:
    """Join the cluster at an address, quietly."""
    own = {"num_cpus": workers or None, "object_store_memory": OBJECTS_BYTES}
    own |= {"include_dashboard": False}
    try:
        _knock(address)
        _start(ray, address, own if address == LOCAL else {})
    except Exception as error:  # noqa: BLE001 - Ray raises bare ones, as for a node that is late
        raise ClusterError(
            f"there is no Ray cluster at {address} ({_in_words(error)}); give its address, or "
            f"{LOCAL} for the processors of this machine"
        ) from None
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)


def _start(ray: Any, address: str, own: dict[str, Any]) -> None:
    """Start or join a cluster; a node of this machine that is late gets another chance.

    Ray gives a node 30 seconds to start, which a busy machine may not reach.
    """
    for start in range(1, STARTS + 1):
        try:
            ray.init(
                address,
                log_to_driver=False,
                logging_level=logging.ERROR,
                ignore_reinit_error=True,
                **own,
            )
        except Exception:
            ray.shutdown()
            if address != LOCAL or start == STARTS:
                raise
        else:
            return


def _knock(address: str) -> None:
    """See whether somebody listens at `host:port`, as Ray itself would wait for ever.

    Raises:
        OSError: nobody does.
    """
    host, colon, port = address.rpartition("://")[2].rpartition(":")
    if colon and port.isdecimal():
        socket.create_connection((host.strip("[]"), int(port)), KNOCK_S).close()


def _set_up(context: Any) -> None:
    """Keep outcomes in order, draw nothing, and give up where nothing comes back."""
    context.execution_options.preserve_order = True
    context.enable_progress_bars = False
    context.execution_no_progress_timeout_s = PATIENCE_S


def _in_words(error: BaseException) -> str:
    """Give the line of Ray's long messages that names the fault."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    named = [line for line in lines if "Error: " in line] or lines or [type(error).__name__]
    return named[-1].rpartition("Error: ")[2]
