"""Detached signatures of model files, made and checked offline with keys on elliptic curves.

A signature covers every byte of the model file. Its format is that of OpenSSF's Model Signing, so either program checks
what the other one signed; see ``polyexport.model.signature_bundle``.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from polyexport.errors import SignatureError, reason_of
from polyexport.model.signature_bundle import SignatureBundle, signed_sha256, statement_of
from polyexport.storage.files import read_limited

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric import ec

__all__ = ["CheckedSignature", "PublicKey", "SigningKey", "check_signature", "signature_path"]

_MAX_SIGNATURE_BYTES = 64 * 1024
_MAX_KEY_BYTES = 64 * 1024

_HASHES = {"secp256r1": "SHA256", "secp384r1": "SHA384", "secp521r1": "SHA512"}
"""Curves of keys, and the hash that goes with each, as Sigstore pairs them."""

_KEY_REMEDY = "give a PEM file with a key on the curve P-256, P-384 or P-521, as docs/signing.md makes one"
_UNTRUSTED = "fetch the model and its signature again, or give the public key of whoever signed it"


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A public key that signatures are checked with."""

    key: "ec.EllipticCurvePublicKey"

    @classmethod
    def read(cls, file: Path) -> "PublicKey":
        """Read a public key, PEM.

        Raises:
            SignatureError: the file cannot be read, or holds something else.
        """
        from cryptography.exceptions import UnsupportedAlgorithm
        from cryptography.hazmat.primitives.asymmetric import ec
        from cryptography.hazmat.primitives.serialization import load_pem_public_key

        data = _read(file, "key", _MAX_KEY_BYTES)
        if b"PRIVATE KEY-----" in data:
            raise SignatureError(
                f"key {file} is a private key, expected a public key",
                remedy="give the public key, and keep the private key to yourself",
            )
        try:
            key = load_pem_public_key(data)
        except (ValueError, UnsupportedAlgorithm) as error:
            raise SignatureError(f"key {file} is not a public key in PEM", remedy=_KEY_REMEDY) from error
        if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name not in _HASHES:
            raise SignatureError(f"key {file} is of another kind", remedy=_KEY_REMEDY)
        return cls(key)

    @property
    def sha256(self) -> str:
        """SHA-256 of the key in PEM, lowercase hex: what ``sha256sum`` says of a file that OpenSSL wrote."""
        from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

        return hashlib.sha256(self.key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)).hexdigest()

    def check(self, data: bytes, signature: bytes) -> None:
        """Check the signature of a model file.

        Args:
            data: bytes of the model file.
            signature: bytes of the signature's file.

        Raises:
            SignatureError: the signature is malformed, was made with another key, or is that of another file.
        """
        from cryptography.exceptions import InvalidSignature

        try:
            bundle = SignatureBundle.from_json(signature)
            if bundle.key_sha256 != self.sha256:
                raise SignatureError(
                    f"it was made with the key {bundle.key_sha256[:12]}..., expected {self.sha256[:12]}...",
                    remedy=_UNTRUSTED,
                )
            self.key.verify(bundle.signature, bundle.signed_bytes, _ecdsa(self.key.curve))
            signed = signed_sha256(bundle.payload)
        except InvalidSignature as error:
            raise SignatureError("it was not made with this key, or it was changed", remedy=_UNTRUSTED) from error
        except ValueError as error:
            raise SignatureError(f"it is malformed: {reason_of(error)}", remedy=_UNTRUSTED) from error
        found = hashlib.sha256(data).hexdigest()
        if signed != found:
            raise SignatureError(
                f"it is the signature of a file with SHA-256 {signed[:12]}..., and the model has {found[:12]}...",
                remedy=_UNTRUSTED,
            )


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A private key that model files are signed with."""

    key: "ec.EllipticCurvePrivateKey"

    @classmethod
    def read(cls, file: Path, passphrase: Callable[[], str]) -> "SigningKey":
        """Read a private key, PEM.

        Args:
            file: path of the key.
            passphrase: called once if the key is encrypted.

        Raises:
            SignatureError: the file cannot be read, holds something else, or has another passphrase.
        """
        from cryptography.exceptions import UnsupportedAlgorithm
        from cryptography.hazmat.primitives.asymmetric import ec
        from cryptography.hazmat.primitives.serialization import load_pem_private_key

        data = _read(file, "key", _MAX_KEY_BYTES)
        fault = f"key {file} is not a private key in PEM"
        try:
            try:
                key = load_pem_private_key(data, None)
            except TypeError:  # how an encrypted key shows
                fault = f"key {file} cannot be decrypted with this passphrase"
                key = load_pem_private_key(data, passphrase().encode())
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise SignatureError(fault, remedy=_KEY_REMEDY) from error
        if not isinstance(key, ec.EllipticCurvePrivateKey) or key.curve.name not in _HASHES:
            raise SignatureError(f"key {file} is of another kind", remedy=_KEY_REMEDY)
        return cls(key)

    @property
    def public(self) -> PublicKey:
        """The public key that belongs to this one."""
        return PublicKey(self.key.public_key())

    def sign(self, data: bytes, *, name: str) -> bytes:
        """Sign a model file, and return the bytes of the signature's file.

        Args:
            data: bytes of the model file.
            name: name of the model, for people who read the signature; it may be renamed.
        """
        payload = statement_of(data, name=name)
        signed = SignatureBundle.pre_authentication_encoding(payload)
        signature = self.key.sign(signed, _ecdsa(self.key.curve))
        return SignatureBundle(payload=payload, signature=signature, key_sha256=self.public.sha256).to_json()


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckedSignature:
    """A signature that holds for a model file."""

    file: Path
    """File of the signature."""

    content: bytes
    """Bytes of that file."""

    key_sha256: str
    """SHA-256 of the public key, as ``PublicKey.sha256``."""


def signature_path(model: Path) -> Path:
    """Return the path of a model file's signature: beside it, with ``.sig`` after its name."""
    return model.with_name(f"{model.name}.sig")


def check_signature(model: Path, data: bytes, *, key: Path, signature: Path | None = None) -> CheckedSignature:
    """Check that a model file was signed with a key, and return the signature.

    Args:
        model: path of the model file, which is not read again.
        data: bytes of the model file.
        key: public key, PEM.
        signature: file of the signature; the one beside the model file if None.

    Raises:
        SignatureError: one of the files is missing, malformed, too large or of another kind, or the signature was made
            with another key or is that of another file.
    """
    public = PublicKey.read(key)
    file = signature if signature is not None else signature_path(model)
    content = _read(file, "signature", _MAX_SIGNATURE_BYTES)
    try:
        public.check(data, content)
    except SignatureError as error:
        raise SignatureError(
            f"model {model} is refused: its signature {file} does not hold for {key}: {error.message}",
            remedy=error.remedy,
        ) from error
    return CheckedSignature(file=file, content=content, key_sha256=public.sha256)


def _read(file: Path, what: str, max_bytes: int) -> bytes:
    try:
        return read_limited(file, max_bytes)
    except OSError as error:
        raise SignatureError(f"{what} {file} cannot be read ({error.strerror})", remedy=f"give a {what}") from error


def _ecdsa(curve: "ec.EllipticCurve") -> "ec.ECDSA":
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec

    return ec.ECDSA(getattr(hashes, _HASHES[curve.name])())
