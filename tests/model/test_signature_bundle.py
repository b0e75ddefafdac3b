"""The format of a signature, member by member."""

import base64
import hashlib
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyexport.model.signature_bundle import SignatureBundle, signed_sha256, statement_of

BUNDLE = SignatureBundle(payload=b"{}", signature=b"sig", key_sha256="0" * 64)
Change = Callable[[dict[str, Any]], object]


def test_what_is_written_is_read() -> None:
    assert SignatureBundle.from_json(BUNDLE.to_json()) == BUNDLE


def test_the_signed_bytes_are_those_of_the_specification() -> None:
    """The example of https://github.com/secure-systems-lab/dsse/blob/v1.0.0/protocol.md, with our type."""
    assert SignatureBundle.pre_authentication_encoding(b"hello world") == (
        b"DSSEv1 28 application/vnd.in-toto+json 11 hello world"
    )


@given(data=st.binary(max_size=100), name=st.sampled_from(["m.onnx", 'a "model".onnx', "modèle.onnx", "\udcff.onnx"]))
def test_a_statement_gives_the_hash_of_its_file(data: bytes, name: str) -> None:
    assert signed_sha256(statement_of(data, name=name)) == hashlib.sha256(data).hexdigest()


def envelope(bundle: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = bundle["dsseEnvelope"]
    return found


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda b: b.update(mediaType="application/vnd.dev.sigstore.bundle+json;version=0.2"), "mediaType is"),
        (lambda b: b.update(more=1), "the bundle has an unknown more"),
        (lambda b: b.pop("dsseEnvelope"), "the bundle lacks dsseEnvelope"),
        (lambda b: b.update(verificationMaterial=[]), "expected an object"),
        (lambda b: b["verificationMaterial"].update(tlogEntries=[{}]), "tlogEntries is"),
        (lambda b: b["verificationMaterial"].update(x509CertificateChain={}), "unknown x509CertificateChain"),
        (lambda b: b["verificationMaterial"]["publicKey"].update(hint="0" * 63), "hint is"),
        (lambda b: b["verificationMaterial"]["publicKey"].update(hint="A" * 64), "hint is"),
        (lambda b: envelope(b).update(payloadType="text/plain"), "payloadType is"),
        (lambda b: envelope(b).update(payload="e30"), "payload is not base64"),
        (lambda b: envelope(b).update(payload="e31="), "payload is not base64"),
        (lambda b: envelope(b).update(payload="e3 0="), "payload is not base64"),
        (lambda b: envelope(b).update(payload="é30="), "payload is not base64"),
        (lambda b: envelope(b).update(payload=None), "payload is not text"),
        (lambda b: envelope(b).update(signatures=[]), "not a list of one"),
        (lambda b: envelope(b).update(signatures=envelope(b)["signatures"] * 2), "not a list of one"),
        (lambda b: envelope(b)["signatures"][0].update(sig=1), "sig is not text"),
    ],
)
def test_a_malformed_bundle_is_refused(change: Change, reason: str) -> None:
    bundle = json.loads(BUNDLE.to_json())
    change(bundle)
    with pytest.raises(ValueError, match=reason):
        SignatureBundle.from_json(json.dumps(bundle).encode())


def test_a_member_that_stands_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="stands twice"):
        SignatureBundle.from_json(BUNDLE.to_json()[:-1] + b',"mediaType":"x"}')


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda s: s.update(_type="https://in-toto.io/Statement/v0.1"), "_type is"),
        (lambda s: s.update(predicateType="https://slsa.dev/provenance/v1"), "predicateType is"),
        (lambda s: s.pop("predicate"), "lacks predicate"),
        (lambda s: s["predicate"]["serialization"].update(method="shards"), "method is 'shards'"),
        (lambda s: s["predicate"]["serialization"].update(hash_type="blake3"), "hash_type is 'blake3'"),
        (lambda s: s["predicate"]["resources"][0].update(name="model.onnx"), "about a folder"),
        (lambda s: s["predicate"]["resources"].append({}), "about a folder"),
        (lambda s: s["predicate"]["resources"][0].update(algorithm="blake2"), "algorithm is"),
        (lambda s: s["predicate"]["resources"][0].update(digest="0" * 64), "the subject's sha256 is"),
        (lambda s: s["predicate"]["resources"][0].update(digest="0"), "digest is"),
        (lambda s: s.update(subject=[]), "subject is not"),
        (lambda s: s["subject"][0].update(digest={}), "lacks sha256"),
    ],
)
def test_a_statement_about_something_else_is_refused(change: Change, reason: str) -> None:
    statement = json.loads(statement_of(b"model", name="m"))
    change(statement)
    with pytest.raises(ValueError, match=reason):
        signed_sha256(json.dumps(statement).encode())


def test_members_that_the_specification_may_add_are_passed_over() -> None:
    statement = json.loads(statement_of(b"model", name="m"))
    statement["predicate"]["card"] = {"license": "MIT"}
    assert signed_sha256(json.dumps(statement).encode()) == signed_sha256(statement_of(b"model", name="m"))


def test_a_payload_is_base64_in_the_bundle() -> None:
    assert json.loads(BUNDLE.to_json())["dsseEnvelope"]["payload"] == base64.b64encode(b"{}").decode()
