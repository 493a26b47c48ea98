"""The commands `marrowscope bundle sign` and `marrowscope bundle verify`."""

import json
from pathlib import Path
from typing import Annotated

import typer

from marrowscope.commands.common import BundleHashOption, JsonOption, errors_in_words

bundle_app = typer.Typer(no_args_is_help=True, help="Say who vouches for a bundle, and check it.")

SIGN_EPILOG = (
    "A key, and what others check with:\n\n"
    "`openssl genpkey -algorithm ed25519 -out key.pem`\n\n"
    "`openssl pkey -in key.pem -pubout -out public.pem`\n\n"
    "Example:\n\n`marrowscope bundle sign bundles/first --key key.pem`"
)
VERIFY_EPILOG = (
    "Example:\n\n`marrowscope bundle verify bundles/first --public-key public.pem`\n\n"
    "Exit codes: 0 it is whole and, with a key, signed by it; 1 it is not."
)
BundleArgument = Annotated[
    str, typer.Argument(metavar="BUNDLE", help="Folder of a bundle, or the name of a shipped one.")
]


@bundle_app.command(epilog=SIGN_EPILOG)
def sign(
    bundle: BundleArgument,
    key: Annotated[Path, typer.Option(help="Private key of Ed25519 (PEM).")],
    as_json: JsonOption = False,
) -> None:
    """Sign a bundle, every file in it; the signature lies beside it as bundle.sig."""
    with errors_in_words():
        from marrowscope.model.bundle import whole_bundle
        from marrowscope.model.signature import write_signature

        whole = whole_bundle(bundle)
        file = write_signature(whole.folder, whole.sha256, key)
        values = {"folder": str(whole.folder), "sha256": whole.sha256, "signature": str(file)}
        _show(values, as_json)


@bundle_app.command(epilog=VERIFY_EPILOG)
def verify(
    bundle: BundleArgument,
    public_key: Annotated[
        list[Path] | None,
        typer.Option(help="Public key (PEM), of which one must have signed it; may be repeated."),
    ] = None,
    bundle_sha256: BundleHashOption = "",
    as_json: JsonOption = False,
) -> None:
    """Check that a bundle is whole and, if keys are given, signed by one; print its digest."""
    with errors_in_words():
        from marrowscope.model.bundle import whole_bundle
        from marrowscope.model.signature import check_signature, signature_in_words

        whole = whole_bundle(bundle, bundle_sha256)
        if public_key:
            fits = check_signature(whole.folder, whole.sha256, public_key)
            words = f"signed, by the key {fits}"
        else:
            words = signature_in_words(whole.folder, whole.sha256)
        values = {"folder": str(whole.folder), "sha256": whole.sha256, "signature": words}
        _show(values, as_json)


def _show(values: dict[str, str], as_json: bool) -> None:
    if as_json:
        print(json.dumps(values))
        return
    for name, value in values.items():
        print(f"{name}: {value}")
