"""The format of a signature: a Sigstore bundle around a DSSE envelope around an in-toto statement about one file.

It is what OpenSSF's Model Signing writes with ``model_signing sign key``. Specifications:

- bundle: https://docs.sigstore.dev/about/bundle/
- envelope: https://github.com/secure-systems-lab/dsse/blob/v1.0.0/protocol.md
- statement: https://github.com/in-toto/attestation/tree/main/spec/v1, with Model Signing's predicate
"""

import base64
import hashlib
import json
from dataclasses import dataclass
from typing import Any

from polyexport.storage.strict_json import read_json

__all__ = ["SignatureBundle", "signed_sha256", "statement_of"]

_BUNDLE_TYPE = "application/vnd.dev.sigstore.bundle.v0.3+json"
_PAYLOAD_TYPE = "application/vnd.in-toto+json"
_STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
_PREDICATE_TYPE = "https://model_signing/signature/v1.0"

_MODEL_FILE = "."
"""Name of the resource in the statement about a model that is a single file."""

_MAX_DEPTH = 8
_MAX_VALUES = 1000


@dataclass(frozen=True, kw_only=True, slots=True)
class SignatureBundle:
    """A signature and what it signs."""

    payload: bytes
    """The statement, JSON in UTF-8."""

    signature: bytes
    """The ECDSA signature of ``signed_bytes``, DER."""

    key_sha256: str
    """SHA-256 of the public key in PEM, lowercase hex. The signature does not cover it."""

    @property
    def signed_bytes(self) -> bytes:
        """The bytes that are signed: DSSE's pre-authentication encoding of the payload and its type."""
        return self.pre_authentication_encoding(self.payload)

    @staticmethod
    def pre_authentication_encoding(payload: bytes) -> bytes:
        """Return the bytes to sign for a payload."""
        return b"DSSEv1 %d %s %d %s" % (len(_PAYLOAD_TYPE), _PAYLOAD_TYPE.encode(), len(payload), payload)

    def to_json(self) -> bytes:
        """Return the bytes of the signature's file. They have no white space, so no byte of them can be changed."""
        bundle = {
            "mediaType": _BUNDLE_TYPE,
            "verificationMaterial": {"publicKey": {"hint": self.key_sha256}, "tlogEntries": []},
            "dsseEnvelope": {
                "payload": base64.b64encode(self.payload).decode(),
                "payloadType": _PAYLOAD_TYPE,
                "signatures": [{"sig": base64.b64encode(self.signature).decode(), "keyid": ""}],
            },
        }
        return json.dumps(bundle, separators=(",", ":")).encode()

    @classmethod
    def from_json(cls, data: bytes) -> "SignatureBundle":
        """Read the bytes of a signature's file, untrusted.

        Raises:
            ValueError: not a bundle with one signature by a key, or one with members that are not known.
        """
        bundle = read_json(data, max_depth=_MAX_DEPTH, max_values=_MAX_VALUES)
        kind, material, envelope = _members(
            bundle, "the bundle", "mediaType", "verificationMaterial", "dsseEnvelope"
        ).values()
        _expect("mediaType", kind, _BUNDLE_TYPE)
        material = _members(material, "verificationMaterial", "publicKey", optional={"tlogEntries": []})
        _expect("tlogEntries", material["tlogEntries"], [])
        [hint] = _members(material["publicKey"], "publicKey", "hint").values()
        payload, payload_type, signatures = _members(
            envelope, "dsseEnvelope", "payload", "payloadType", "signatures"
        ).values()
        _expect("payloadType", payload_type, _PAYLOAD_TYPE)
        if not isinstance(signatures, list) or len(signatures) != 1:
            raise ValueError("signatures is not a list of one signature")
        signature = _members(signatures[0], "the signature", "sig", optional={"keyid": ""})
        return cls(
            payload=_base64(payload, "payload"),
            signature=_base64(signature["sig"], "sig"),
            key_sha256=_sha256(hint, "hint"),
        )


def statement_of(data: bytes, *, name: str) -> bytes:
    """Return the statement about a model file, JSON in UTF-8.

    Args:
        data: bytes of the file.
        name: name of the model, for people who read it.
    """
    digest = hashlib.sha256(data)
    statement = {
        "_type": _STATEMENT_TYPE,
        "subject": [{"name": name, "digest": {"sha256": hashlib.sha256(digest.digest()).hexdigest()}}],
        "predicateType": _PREDICATE_TYPE,
        "predicate": {
            "serialization": {"method": "files", "hash_type": "sha256", "allow_symlinks": False},
            "resources": [{"name": _MODEL_FILE, "algorithm": "sha256", "digest": digest.hexdigest()}],
        },
    }
    return json.dumps(statement).encode()


def signed_sha256(statement: bytes) -> str:
    """Return the SHA-256 of the one file that a statement is about, lowercase hex.

    Members that are not known are passed over, as the predicate's specification wants it.

    Args:
        statement: a payload whose signature holds.

    Raises:
        ValueError: a statement about something else than one file, or with another hash.
    """
    read = read_json(statement, max_depth=_MAX_DEPTH, max_values=_MAX_VALUES)
    _expect("_type", _member(read, "_type"), _STATEMENT_TYPE)
    _expect("predicateType", _member(read, "predicateType"), _PREDICATE_TYPE)
    predicate = _member(read, "predicate")
    serialization = _member(predicate, "serialization")
    _expect("method", _member(serialization, "method"), "files")
    _expect("hash_type", _member(serialization, "hash_type"), "sha256")
    resources = _member(predicate, "resources")
    if not isinstance(resources, list) or len(resources) != 1 or _member(resources[0], "name") != _MODEL_FILE:
        raise ValueError("it is about a folder, expected one model file")
    _expect("algorithm", _member(resources[0], "algorithm"), "sha256")
    found = _sha256(_member(resources[0], "digest"), "digest")
    subjects = _member(read, "subject")
    if not isinstance(subjects, list) or len(subjects) != 1:
        raise ValueError("subject is not a list of one subject")
    together = hashlib.sha256(bytes.fromhex(found)).hexdigest()
    _expect("the subject's sha256", _member(_member(subjects[0], "digest"), "sha256"), together)
    return found


def _members(value: object, what: str, *required: str, optional: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return the members of an object in the order of their names here; others than these are refused."""
    if not isinstance(value, dict):
        raise ValueError(f"{what} is {repr(value)[:60]}, expected an object")  # noqa: TRY004 - callers catch one exception
    defaults = optional or {}
    for fault, names in (
        ("lacks", set(required) - set(value)),
        ("has an unknown", set(value) - {*required, *defaults}),
    ):
        if names:
            raise ValueError(f"{what} {fault} {', '.join(sorted(names))[:100]}")
    return {name: value[name] for name in required} | {name: value.get(name, each) for name, each in defaults.items()}


def _member(value: object, name: str) -> Any:
    if not isinstance(value, dict) or name not in value:
        raise ValueError(f"the statement lacks {name}")
    return value[name]


def _expect(what: str, found: object, expected: object) -> None:
    if type(found) is not type(expected) or found != expected:
        raise ValueError(f"{what} is {repr(found)[:60]}, expected {expected!r}")


def _base64(text: object, what: str) -> bytes:
    """Decode base64 that has exactly one spelling: the last character may hold no unused bits."""
    if not isinstance(text, str):
        raise ValueError(f"{what} is not text")  # noqa: TRY004 - callers catch one exception
    try:
        data = base64.b64decode(text, validate=True)
    except ValueError as error:
        raise ValueError(f"{what} is not base64") from error
    if base64.b64encode(data).decode() != text:
        raise ValueError(f"{what} is not base64")
    return data


def _sha256(text: object, what: str) -> str:
    if not isinstance(text, str) or len(text) != 64 or set(text) - set("0123456789abcdef"):
        raise ValueError(f"{what} is {repr(text)[:60]}, expected 64 lowercase hexadecimal digits")
    return text
