"""Every error that marrowscope raises on purpose; the message says what came and what to do."""


class MarrowscopeError(Exception):
    """Base of all errors below; the command line prints its message and exits with 1."""


class UnknownClassError(MarrowscopeError):
    """A class code that is not in the class list."""


class ImageError(MarrowscopeError):
    """A file that cannot be used as the picture of one cell."""


class FieldError(MarrowscopeError):
    """A file that cannot be used as a whole field, or boxes that cannot be read."""


class ManifestError(MarrowscopeError):
    """A manifest or class folder that cannot be read."""


class CaseError(MarrowscopeError):
    """A case or its reviews that cannot be read."""


class SplitError(MarrowscopeError):
    """A split that leaks, was changed after it was sealed, or does not fit the data."""


class PackError(MarrowscopeError):
    """A pack that is not whole, or does not fit the cells or the preprocessing."""


class BundleError(MarrowscopeError):
    """A bundle that is incomplete, was changed, or is not known by that name."""


class PredictionError(MarrowscopeError):
    """Predictions that are no probabilities."""


class SettingsError(MarrowscopeError):
    """Settings that contradict each other or the data."""


class TrainingError(MarrowscopeError):
    """A training or sweep that cannot go on, such as by a checkpoint that cannot be written."""


class DivergedError(TrainingError):
    """A training whose loss is no longer a number."""


class BackboneError(MarrowscopeError):
    """A pretrained network that cannot be loaded."""


class ExportError(MarrowscopeError):
    """A run that cannot be exported, or whose exported model differs from the trained one."""


class ComparisonError(MarrowscopeError):
    """Evaluations or readings that cannot be compared: not of one test, or none at all."""


class MissingExtraError(MarrowscopeError):
    """A command that needs an optional part of marrowscope which is not installed."""


class ClusterError(MarrowscopeError):
    """A Ray cluster that is not there, or workers that cannot do the work."""


class OutputError(MarrowscopeError):
    """A place for results that cannot be written to, or already holds something."""


class StoreError(MarrowscopeError):
    """A database that cannot be used, or something that the store cannot hold."""


class NotThereError(StoreError):
    """Something that is not in the store, or not for this user."""


class DeniedError(StoreError):
    """Something that the user's role does not allow, or a wrong password, link or token."""


class ConflictError(StoreError):
    """A change that does not fit what the store holds by now."""


class FrozenError(ConflictError):
    """A change of a case that is signed or archived."""


class UnavailableError(StoreError):
    """A disk that is full, or a store that does not answer: the same may do later."""


class LostJobError(StoreError):
    """A job that another worker has taken over, or whose case was deleted."""


class SignInError(MarrowscopeError):
    """A request that needs a login or a token."""


class TooOftenError(MarrowscopeError):
    """Too many failed logins; `seconds` is how long to wait."""

    def __init__(self, seconds: int) -> None:
        """Say how long to wait."""
        super().__init__(f"too many failed logins; try again in {seconds} seconds")
        self.seconds = seconds


class UploadError(MarrowscopeError):
    """An upload that is refused as a whole: too large, too many or no files, or a bad archive."""


class TooLargeError(UploadError):
    """A request with more bytes than are taken."""


class NotReadyError(MarrowscopeError):
    """Something that needs the model before it is loaded."""


def said_by(error: BaseException) -> str:
    """Say what an error of a library says, or its kind where it says nothing.

    `ValueError("too short")` gives `too short`, `MemoryError()` gives `MemoryError`.
    """
    return str(error) or type(error).__name__
