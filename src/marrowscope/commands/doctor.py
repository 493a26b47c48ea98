"""The command `marrowscope doctor`: what this machine has, and what it is fit for."""

from marrowscope.commands.common import (
    BundleHashOption,
    BundleOption,
    JsonOption,
    errors_in_words,
)

EPILOG = "Examples:\n\n`marrowscope doctor`\n\n`marrowscope doctor --bundle mine --json`"


def doctor(
    bundle: BundleOption = "default",
    bundle_sha256: BundleHashOption = "",
    as_json: JsonOption = False,
) -> None:
    """Say what this machine has, which engine it will use, how fast, and what is missing."""
    with errors_in_words():
        from marrowscope.commands.doctor_output import show_examined
        from marrowscope.inference.doctor import examine
        from marrowscope.model.bundle import load_bundle

        show_examined(examine(load_bundle(bundle, bundle_sha256)), as_json)
