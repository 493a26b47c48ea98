"""Train, evaluate and serve classifiers of single bone marrow cell images.

The public functions load on first use, so that importing the package stays fast:

    import marrowscope as ms
    cells = ms.classify(["cells/"], um_per_px=0.1)
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from marrowscope.differential.count import count as count
    from marrowscope.differential.options import CountingOptions as CountingOptions
    from marrowscope.evaluation.evaluate import evaluate as evaluate
    from marrowscope.inference.memory import ClassifiedCells as ClassifiedCells
    from marrowscope.inference.memory import classify as classify
    from marrowscope.inference.options import InferenceOptions as InferenceOptions
    from marrowscope.inference.predictor import Predictor as Predictor
    from marrowscope.model.bundle import Bundle as Bundle
    from marrowscope.model.bundle import load_bundle as load_bundle

__version__ = "1.0.0"
__all__ = [
    "Bundle",
    "ClassifiedCells",
    "CountingOptions",
    "InferenceOptions",
    "Predictor",
    "__version__",
    "classify",
    "count",
    "evaluate",
    "load_bundle",
]
_MODULES = {
    "Bundle": "marrowscope.model.bundle",
    "ClassifiedCells": "marrowscope.inference.memory",
    "CountingOptions": "marrowscope.differential.options",
    "InferenceOptions": "marrowscope.inference.options",
    "Predictor": "marrowscope.inference.predictor",
    "classify": "marrowscope.inference.memory",
    "count": "marrowscope.differential.count",
    "evaluate": "marrowscope.evaluation.evaluate",
    "load_bundle": "marrowscope.model.bundle",
}
"""Where each public name is defined."""


def __getattr__(name: str) -> Any:
    """Load a public name on first use."""
    if name not in _MODULES:
        raise AttributeError(f"module 'marrowscope' has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    """List the public names."""
    return __all__
