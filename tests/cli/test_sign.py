"""`sign`, `export --sign`, and the commands that require a signature."""

import json
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from signing_keys import PASSPHRASE, KeyPair

from polyexport.cli.export import export
from polyexport.cli.sign import sign
from polyexport.cli.signing import PASSPHRASE_VARIABLE
from polyexport.cli.verify import verify
from polyexport.errors import ContractError, OutputError, SignatureError, UsageError
from polyexport.model.signature import signature_path

Cli = Callable[..., subprocess.CompletedProcess[str]]
Refused = Callable[..., str]
KeyPairOf = Callable[..., KeyPair]

FILES_OF_0_1_0 = Path(__file__).parents[1] / "files_of_0_1_0"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "m.onnx"
    path.write_bytes((FILES_OF_0_1_0 / "rgb.onnx").read_bytes())
    return path


def test_an_export_reads_its_key_before_the_work(keys: KeyPair, tmp_path: Path) -> None:
    with pytest.raises(SignatureError, match="is not a private key"):
        export("no-such-checkpoint.safetensors", output=tmp_path / "m.onnx", sign=keys.public)


def test_an_export_never_replaces_its_key(keys: KeyPair, tiny_checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "m.onnx.sig").write_bytes(keys.private.read_bytes())
    for output, key in ((keys.private, keys.private), (tmp_path / "m.onnx", tmp_path / "m.onnx.sig")):
        with pytest.raises(UsageError, match="is the private key"):
            export(str(tiny_checkpoint), output=output, sign=key)


def test_infer_requires_the_signature_of_a_key(
    cli: Cli, refused: Refused, model: Path, keys: KeyPair, drawings: Path, tmp_path: Path
) -> None:
    sign(model, key=keys.private, quiet=True)
    arguments = ("infer", drawings, "--color", "red", "--provider", "cpu", "-m", model, "--require-signature")
    cli(*arguments, keys.public, "-o", "signed", check=0)
    assert len(list((tmp_path / "signed").rglob("*.png"))) == 6
    data = bytearray(model.read_bytes())
    data[len(data) // 2] ^= 1
    model.write_bytes(data)
    assert "is the signature of a file with SHA-256" in refused(4, *arguments, keys.public, "-o", "changed")
    assert not list(tmp_path.glob("changed/**/*.png"))


def test_a_service_and_a_cluster_require_it_as_well(
    refused: Refused, model: Path, keys: KeyPair, drawings: Path
) -> None:
    required = ("-m", model, "--provider", "cpu", "--require-signature", keys.public)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    assert "m.onnx.sig cannot be read" in refused(4, "serve", "--port", port, *required)
    assert "m.onnx.sig cannot be read" in refused(4, "infer", drawings, "--color", "red", "--engine", "ray", *required)


def test_an_encrypted_key_needs_its_passphrase(
    model: Path, key_pair: KeyPairOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = key_pair(passphrase=PASSPHRASE)
    monkeypatch.delenv(PASSPHRASE_VARIABLE, raising=False)
    with pytest.raises(UsageError, match="is encrypted; set POLYEXPORT_KEY_PASSPHRASE"):
        sign(model, key=pair.private)
    monkeypatch.setenv(PASSPHRASE_VARIABLE, "wrong")
    with pytest.raises(SignatureError, match="cannot be decrypted with this passphrase"):
        sign(model, key=pair.private)
    monkeypatch.setenv(PASSPHRASE_VARIABLE, PASSPHRASE)
    sign(model, key=pair.private, quiet=True)
    verify(model, key=pair.public, provider="cpu", quiet=True)


def test_a_terminal_is_asked_for_the_passphrase(
    model: Path, key_pair: KeyPairOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = key_pair(passphrase=PASSPHRASE)
    monkeypatch.delenv(PASSPHRASE_VARIABLE, raising=False)
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    monkeypatch.setattr("getpass.getpass", lambda prompt: PASSPHRASE if str(pair.private) in prompt else "")
    sign(model, key=pair.private, quiet=True)
    verify(model, key=pair.public, provider="cpu", quiet=True)


def test_nothing_is_overwritten_by_mistake(model: Path, keys: KeyPair, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(keys.private)
    before = keys.private.read_bytes(), model.read_bytes()
    for taken, named in ((model, "the model"), (keys.private, "the private key"), (link, "the private key")):
        with pytest.raises(UsageError, match=f"is {named}"):
            sign(model, key=keys.private, signature=taken, overwrite=True)
    assert (keys.private.read_bytes(), model.read_bytes()) == before

    (tmp_path / "kept").write_text("mine")
    with pytest.raises(UsageError, match="exists already"):
        sign(model, key=keys.private, signature=tmp_path / "kept")
    assert (tmp_path / "kept").read_text() == "mine"
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    with pytest.raises(OutputError, match="is a link"):
        sign(model, key=keys.private, signature=tmp_path / "dangling", overwrite=True)
    sign(model, key=keys.private, signature=tmp_path / "kept", overwrite=True, quiet=True)
    verify(model, key=keys.public, signature=tmp_path / "kept", provider="cpu", quiet=True)


def test_a_file_that_is_not_a_model_is_not_signed(keys: KeyPair, tmp_path: Path) -> None:
    (tmp_path / "text.onnx").write_text("hello")
    with pytest.raises(ContractError):
        sign(tmp_path / "text.onnx", key=keys.private)
    assert not signature_path(tmp_path / "text.onnx").exists()


def test_a_signature_is_told_as_json(model: Path, keys: KeyPair, capsys: pytest.CaptureFixture[str]) -> None:
    sign(model, key=keys.private, json_report=True)
    document = json.loads(capsys.readouterr().out)
    assert document["signature"] == f"{model}.sig"
    assert len(document["key_sha256"]) == 64
