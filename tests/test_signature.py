"""The digest of a whole bundle, and signatures: whatever is changed is found."""

import base64
import json
import shutil
import subprocess
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest
from conftest import ROOT, SAMPLES
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from signing_keys import make_key
from test_classify import run

from marrowscope.errors import BundleError, MissingExtraError
from marrowscope.model import signature
from marrowscope.model.bundle import Bundle, digest, load_bundle, seal_evaluation
from marrowscope.model.signature import TRUSTED, check_signature, write_signature

OTHER = "0" * 64


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two pairs of keys: ours.pem and ours.pub, theirs.pem and theirs.pub."""
    folder = tmp_path_factory.mktemp("keys")
    for name in ("ours", "theirs"):
        make_key(folder / f"{name}.pem", folder / f"{name}.pub")
    return folder


def test_the_digest_is_what_sha256sum_gives(toy_bundle: Bundle) -> None:
    lines = "".join(
        f"{sha256((toy_bundle.folder / name).read_bytes()).hexdigest()}  {name}\n"
        for name in sorted(toy_bundle.files)
    )
    assert toy_bundle.sha256 == digest(toy_bundle) == sha256(lines.encode()).hexdigest()


@pytest.mark.skipif(not shutil.which("sha256sum"), reason="no sha256sum here")
def test_a_terminal_gives_the_same_digest(toy_bundle: Bundle) -> None:
    command = "LC_ALL=C; export LC_ALL; sha256sum * | sha256sum"
    told = subprocess.run(
        ["sh", "-c", command], cwd=toy_bundle.folder, capture_output=True, text=True, check=True
    )
    assert told.stdout.split()[0] == toy_bundle.sha256


def test_the_page_names_the_digest_of_the_shipped_bundle() -> None:
    assert load_bundle("default").sha256 in (ROOT / "docs/security.md").read_text()


def test_every_file_is_in_the_digest(toy_bundle: Bundle) -> None:
    seen = {toy_bundle.sha256}
    for name in toy_bundle.files:
        with (toy_bundle.folder / name).open("ab") as file:
            file.write(b" ")
        seen.add(digest(toy_bundle))
    assert len(seen) == 1 + len(toy_bundle.files)


def test_a_change_that_no_hash_in_the_description_covers_is_seen(toy_bundle: Bundle) -> None:
    card = toy_bundle.folder / "MODEL_CARD.md"
    card.write_text(card.read_text().replace("Research use only", "Approved for diagnosis"))
    assert load_bundle(str(toy_bundle.folder)).name == "toy"
    with pytest.raises(BundleError) as caught:
        load_bundle(str(toy_bundle.folder), toy_bundle.sha256)
    assert str(caught.value) == (
        f"{toy_bundle.folder} is not the bundle demanded (SHA-256 {digest(toy_bundle)}, demanded "
        f"{toy_bundle.sha256}); give that bundle, or leave --bundle-sha256 away"
    )


def test_the_bundle_demanded_is_loaded(toy_bundle: Bundle) -> None:
    assert load_bundle(str(toy_bundle.folder), toy_bundle.sha256.upper()).name == "toy"


@pytest.mark.parametrize("name", ["weights.bin", ".hidden", "tested.npz"])
def test_what_is_not_of_the_bundle_is_refused(toy_bundle: Bundle, name: str) -> None:
    """An ONNX file may name others as its weights, which no hash would cover."""
    (toy_bundle.folder / name).touch()
    with pytest.raises(BundleError) as caught:
        load_bundle(str(toy_bundle.folder))
    assert str(caught.value) == (
        f"{toy_bundle.folder} holds what is not of the bundle: {name}; remove it, or fetch or "
        "export the bundle again"
    )


def test_a_file_that_is_described_must_be_there(toy_bundle: Bundle) -> None:
    (toy_bundle.folder / "references.npz").unlink()
    with pytest.raises(BundleError, match=r"references\.npz cannot be read \(No such file"):
        load_bundle(str(toy_bundle.folder))


def test_a_signed_bundle_is_loaded_where_its_key_is_trusted(
    toy_bundle: Bundle, keys: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_signature(toy_bundle.folder, toy_bundle.sha256, keys / "ours.pem")
    monkeypatch.setenv(TRUSTED, f"{keys / 'theirs.pub'}:{keys / 'ours.pub'}")
    assert load_bundle(str(toy_bundle.folder)).sha256 == toy_bundle.sha256


Change = Callable[[Bundle, Path], object]


def change_the_card(bundle: Bundle, _: Path) -> None:
    (bundle.folder / "MODEL_CARD.md").write_text("Approved for diagnosis")


def sign_with_another_key(bundle: Bundle, keys: Path) -> None:
    write_signature(bundle.folder, bundle.sha256, keys / "theirs.pem")


def sign_another_bundle(bundle: Bundle, keys: Path) -> None:
    write_signature(bundle.folder, OTHER, keys / "ours.pem")


def sign_the_digest_without_saying_of_what(bundle: Bundle, keys: Path) -> None:
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    key = load_pem_private_key((keys / "ours.pem").read_bytes(), None)
    assert isinstance(key, Ed25519PrivateKey)
    made = base64.b64encode(key.sign(bundle.sha256.encode()))
    (bundle.folder / "bundle.sig").write_bytes(made)


def write_too_few_bytes(bundle: Bundle, _: Path) -> None:
    (bundle.folder / "bundle.sig").write_text("AAAA")


@pytest.mark.parametrize(
    "change",
    [
        change_the_card,
        sign_with_another_key,
        sign_another_bundle,
        sign_the_digest_without_saying_of_what,
        write_too_few_bytes,
    ],
)
def test_a_signature_that_does_not_fit_is_refused(
    toy_bundle: Bundle, keys: Path, monkeypatch: pytest.MonkeyPatch, change: Change
) -> None:
    write_signature(toy_bundle.folder, toy_bundle.sha256, keys / "ours.pem")
    change(toy_bundle, keys)
    monkeypatch.setenv(TRUSTED, str(keys / "ours.pub"))
    with pytest.raises(BundleError, match=r"bundle\.sig fits none of the keys .*ours\.pub"):
        load_bundle(str(toy_bundle.folder))


def test_where_keys_are_trusted_an_unsigned_bundle_is_refused(
    toy_bundle: Bundle, keys: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(TRUSTED, str(keys / "ours.pub"))
    for name in (str(toy_bundle.folder), "default"):
        with pytest.raises(BundleError, match=r"is not signed, and a signature by one of .*pub"):
            load_bundle(name)


@pytest.mark.parametrize("content", ["no Base64!", "\udcff"])
def test_a_signature_that_is_none(toy_bundle: Bundle, keys: Path, content: str) -> None:
    file = toy_bundle.folder / "bundle.sig"
    file.write_text(content, errors="surrogateescape")
    with pytest.raises(BundleError, match=r"bundle\.sig is no signature"):
        check_signature(toy_bundle.folder, toy_bundle.sha256, [keys / "ours.pub"])


def test_keys_that_cannot_be_used(toy_bundle: Bundle, keys: Path, tmp_path: Path) -> None:
    pem, pkcs8 = Encoding.PEM, PrivateFormat.PKCS8
    (tmp_path / "ec.pem").write_bytes(
        generate_private_key(SECP256R1()).private_bytes(pem, pkcs8, NoEncryption())
    )
    (tmp_path / "locked.pem").write_bytes(
        Ed25519PrivateKey.generate().private_bytes(pem, pkcs8, BestAvailableEncryption(b"secret"))
    )
    for key, words in (
        (tmp_path / "ec.pem", "is no key of Ed25519"),
        (tmp_path / "locked.pem", "is protected by a password"),
        (tmp_path / "none.pem", "cannot be read as a private key in PEM"),
        (keys / "ours.pub", "cannot be read as a private key in PEM"),
    ):
        with pytest.raises(BundleError, match=words):
            write_signature(toy_bundle.folder, toy_bundle.sha256, key)
    write_signature(toy_bundle.folder, toy_bundle.sha256, keys / "ours.pem")
    with pytest.raises(BundleError, match="cannot be read as a public key in PEM"):
        check_signature(toy_bundle.folder, toy_bundle.sha256, [keys / "ours.pem"])


def test_without_the_library_no_signature_is_believed(
    toy_bundle: Bundle, keys: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_signature(toy_bundle.folder, toy_bundle.sha256, keys / "ours.pem")
    monkeypatch.setattr(signature, "LIBRARY", "no_such_module")
    monkeypatch.setenv(TRUSTED, str(keys / "ours.pub"))
    with pytest.raises(MissingExtraError, match=r"pip install 'marrowscope\[sign\]'"):
        load_bundle(str(toy_bundle.folder))


def test_new_figures_end_an_earlier_signature(toy_bundle: Bundle, keys: Path) -> None:
    write_signature(toy_bundle.folder, toy_bundle.sha256, keys / "ours.pem")
    seal_evaluation(toy_bundle, {"grouped_by": "patient", "sets": {}})
    assert not (toy_bundle.folder / "bundle.sig").exists()
    assert load_bundle(str(toy_bundle.folder)).sha256 != toy_bundle.sha256


def test_openssl_signs_as_well(toy_bundle: Bundle, keys: Path, tmp_path: Path) -> None:
    """The recipe of docs/security.md, for keys with a password or in a token."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("no openssl here")
    text, made = tmp_path / "text", tmp_path / "made"
    text.write_text(f"marrowscope bundle {toy_bundle.sha256}\n")
    key = ("-inkey", str(keys / "ours.pem"), "-rawin", "-in", str(text), "-out", str(made))
    subprocess.run([openssl, "pkeyutl", "-sign", *key], check=True, capture_output=True)
    (toy_bundle.folder / "bundle.sig").write_bytes(base64.b64encode(made.read_bytes()))
    found = check_signature(toy_bundle.folder, toy_bundle.sha256, [keys / "ours.pub"])
    assert found == keys / "ours.pub"


def test_the_commands_sign_and_verify(toy_bundle: Bundle, keys: Path) -> None:
    folder = toy_bundle.folder
    before = run("bundle", "verify", folder, "--json")
    assert json.loads(before.stdout) == {
        "folder": str(folder),
        "sha256": toy_bundle.sha256,
        "signature": "not signed",
    }
    signed = run("bundle", "sign", folder, "--key", keys / "ours.pem")
    assert f"signature: {folder / 'bundle.sig'}" in signed.stdout
    after = run("bundle", "verify", folder, "--public-key", keys / "ours.pub")
    assert f"signature: signed, by the key {keys / 'ours.pub'}" in after.stdout
    change_the_card(toy_bundle, keys)
    refused = run("bundle", "verify", folder, "--public-key", keys / "ours.pub")
    assert refused.returncode == 1
    assert "the bundle was changed after it was signed" in refused.stderr


def test_results_name_the_whole_bundle(toy_bundle: Bundle, tmp_path: Path) -> None:
    cells, results = SAMPLES / "cells/mll/NGS", tmp_path / "results"
    given = ("classify", cells, "--bundle", toy_bundle.folder, "--output", results)
    refused = run(*given, "--bundle-sha256", OTHER)
    assert refused.returncode == 1
    assert "is not the bundle demanded" in refused.stderr
    done = run(*given, "--bundle-sha256", toy_bundle.sha256)
    assert done.returncode == 0, done.stderr
    assert json.loads((results / "classify.json").read_text())["bundle_sha256"] == toy_bundle.sha256
    told = json.loads((results / "differential.json").read_text())["bundle"]
    assert told == toy_bundle.identity
