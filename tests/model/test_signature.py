"""Signatures of model files: what holds, and that nothing else does."""

import base64
import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from hypothesis import given
from hypothesis import strategies as st
from signing_keys import PASSPHRASE, KeyPair

from polyexport.errors import ExitCode, SignatureError
from polyexport.model.file import read_model
from polyexport.model.loading.load import load_model
from polyexport.model.signature import PublicKey, SigningKey, check_signature, signature_path

FILES_OF_0_1_0 = Path(__file__).parents[1] / "files_of_0_1_0"
VECTORS = Path(__file__).parent / "signed_by_model_signing"

KeyPairOf = Callable[..., KeyPair]

MODEL = bytes(range(256)) * 4
SIGNING = SigningKey(ec.generate_private_key(ec.SECP256R1()))
SIGNATURE = SIGNING.sign(MODEL, name="model.onnx")


def no_passphrase() -> str:
    raise AssertionError("the key is not encrypted")


def test_a_signature_holds_for_its_file_and_key_alone() -> None:
    SIGNING.public.check(MODEL, SIGNATURE)
    with pytest.raises(SignatureError, match="made with the key"):
        SigningKey(ec.generate_private_key(ec.SECP256R1())).public.check(MODEL, SIGNATURE)
    with pytest.raises(SignatureError, match="signature of a file with SHA-256"):
        SIGNING.public.check(MODEL + b"\0", SIGNATURE)


@given(place=st.integers(0, len(SIGNATURE) - 1), byte=st.integers(0, 255))
def test_a_signature_with_one_changed_byte_is_refused(place: int, byte: int) -> None:
    changed = SIGNATURE[:place] + bytes([byte]) + SIGNATURE[place + 1 :]
    if changed == SIGNATURE:
        return
    with pytest.raises(SignatureError):
        SIGNING.public.check(MODEL, changed)


@given(place=st.integers(0, len(MODEL) - 1), byte=st.integers(0, 255))
def test_a_model_with_one_changed_byte_is_refused(place: int, byte: int) -> None:
    changed = MODEL[:place] + bytes([byte]) + MODEL[place + 1 :]
    if changed == MODEL:
        return
    with pytest.raises(SignatureError):
        SIGNING.public.check(changed, SIGNATURE)


@given(st.binary(max_size=300) | st.integers(0, len(SIGNATURE) - 1).map(lambda end: SIGNATURE[:end]))
def test_bytes_that_are_not_a_signature_are_refused(data: bytes) -> None:
    with pytest.raises(SignatureError):
        SIGNING.public.check(MODEL, data)


def test_a_key_that_the_signature_names_does_not_count(key_pair: KeyPairOf) -> None:
    """The name of the key is not signed: another signer can write any name there."""
    other = PublicKey.read(key_pair().public)
    bundle = json.loads(SIGNATURE)
    bundle["verificationMaterial"]["publicKey"]["hint"] = other.sha256
    with pytest.raises(SignatureError, match="was not made with this key"):
        other.check(MODEL, json.dumps(bundle).encode())


@pytest.mark.parametrize("curve", [ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1()], ids=lambda curve: curve.name)
def test_keys_are_read_from_files(key_pair: KeyPairOf, curve: ec.EllipticCurve) -> None:
    plain, encrypted = key_pair(curve), key_pair(curve, passphrase=PASSPHRASE)
    for pair, passphrase in ((plain, no_passphrase), (encrypted, lambda: PASSPHRASE)):
        signing = SigningKey.read(pair.private, passphrase)
        PublicKey.read(pair.public).check(MODEL, signing.sign(MODEL, name="m.onnx"))


def test_what_is_not_such_a_key_is_refused(key_pair: KeyPairOf, tmp_path: Path) -> None:
    pair, encrypted = key_pair(), key_pair(passphrase=PASSPHRASE)
    other = ed25519.Ed25519PrivateKey.generate()
    files = {
        "private": other.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
        "public": other.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        "koblitz": ec.generate_private_key(ec.SECP256K1()).private_bytes(
            Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
        ),
        "text": b"hello",
        "large": pair.public.read_bytes() + b"\n" * 70_000,
    }
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "fifo").unlink(missing_ok=True)
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "link").symlink_to(tmp_path / "fifo")

    for path, reason in (
        (pair.private, "is a private key, expected a public key"),
        (tmp_path / "public", "is of another kind"),
        (tmp_path / "text", "is not a public key in PEM"),
        (tmp_path / "large", "more than the limit"),
        (tmp_path / "link", "not a regular file"),
        (tmp_path / "missing", "No such file"),
    ):
        with pytest.raises(SignatureError, match=reason):
            PublicKey.read(path)
    for path, reason in (
        (tmp_path / "private", "is of another kind"),
        (tmp_path / "koblitz", "is of another kind"),
        (pair.public, "is not a private key in PEM"),
        (tmp_path / "text", "is not a private key in PEM"),
        (tmp_path / "link", "not a regular file"),
    ):
        with pytest.raises(SignatureError, match=reason):
            SigningKey.read(path, no_passphrase)
    for wrong in ("", "wrong"):
        with pytest.raises(SignatureError, match="cannot be decrypted with this passphrase"):
            SigningKey.read(encrypted.private, wrong.__str__)


@pytest.fixture
def signed(keys: KeyPair, tmp_path: Path) -> Path:
    """A model file with its signature."""
    model = tmp_path / "rgb.onnx"
    model.write_bytes((FILES_OF_0_1_0 / "rgb.onnx").read_bytes())
    signing = SigningKey.read(keys.private, no_passphrase)
    signature_path(model).write_bytes(signing.sign(model.read_bytes(), name=model.name))
    return model


def test_a_model_loads_if_its_signature_holds(signed: Path, keys: KeyPair, key_pair: KeyPairOf) -> None:
    assert load_model(signed, provider="cpu", signed_by=str(keys.public)).sha256
    with pytest.raises(SignatureError, match=r"rgb\.onnx is refused: its signature .*rgb\.onnx\.sig does not hold for"):
        load_model(signed, provider="cpu", signed_by=key_pair().public)
    signed.write_bytes(signed.read_bytes() + b"\x72\0")  # one more entry of the metadata, an empty one
    assert load_model(signed, provider="cpu").sha256
    with pytest.raises(SignatureError, match="signature of a file with SHA-256") as refused:
        load_model(signed, provider="cpu", signed_by=keys.public)
    assert refused.value.exit_code is ExitCode.MODEL_REFUSED


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (lambda path: path.unlink(), "No such file"),
        (lambda path: path.write_bytes(b" " * 70_000), "more than the limit"),
        (lambda path: path.write_bytes(b""), "malformed"),
        (lambda path: (path.unlink(), path.mkdir()), "not a regular file"),
        (lambda path: (path.unlink(), subprocess.run(["mkfifo", path], check=True)), "not a regular file"),
        (lambda path: (path.unlink(), path.symlink_to("/dev/zero")), "not a regular file"),
    ],
    ids=["missing", "large", "empty", "folder", "pipe", "link to a device"],
)
def test_a_signature_that_cannot_be_used_is_refused(
    signed: Path, keys: KeyPair, fault: Callable[[Path], object], reason: str
) -> None:
    fault(signature_path(signed))
    with pytest.raises(SignatureError, match=reason):
        read_model(signed, signed_by=keys.public)


def test_what_model_signing_signed_is_accepted() -> None:
    """The signature was written by ``model_signing sign key`` of version 1.1.1."""
    model = FILES_OF_0_1_0 / "rgb.onnx"
    key, signature = VECTORS / "key.pub", VECTORS / "rgb.onnx.sig"
    checked = check_signature(model, model.read_bytes(), key=key, signature=signature)
    assert checked.content == signature.read_bytes()
    with pytest.raises(SignatureError, match="about a folder"):
        check_signature(model, model.read_bytes(), key=key, signature=VECTORS / "folder.sig")


def test_what_is_signed_here_is_what_model_signing_writes(keys: KeyPair) -> None:
    """The order of members and the white space of the statement are free; ``model_signing`` itself varies them."""
    data = (FILES_OF_0_1_0 / "rgb.onnx").read_bytes()
    ours = json.loads(SigningKey.read(keys.private, no_passphrase).sign(data, name="rgb.onnx"))
    theirs = json.loads((VECTORS / "rgb.onnx.sig").read_bytes())
    statements = [json.loads(base64.b64decode(each["dsseEnvelope"].pop("payload"))) for each in (ours, theirs)]
    del statements[1]["predicate"]["serialization"]["ignore_paths"]  # what it leaves out of folders
    assert statements[0] == statements[1]
    for each in (ours, theirs):
        assert len(each["verificationMaterial"]["publicKey"].pop("hint")) == 64
        assert base64.b64decode(each["dsseEnvelope"]["signatures"][0].pop("sig"))[0] == 0x30  # DER
    assert ours == theirs
