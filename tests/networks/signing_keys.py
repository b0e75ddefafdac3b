"""Keys on elliptic curves, made for one run of the tests. A plugin of pytest."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

PASSPHRASE = "correct horse"


@dataclass(frozen=True, slots=True)
class KeyPair:
    """Files of a private key and its public key, PEM."""

    private: Path
    public: Path


@pytest.fixture(scope="session")
def key_pair(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., KeyPair]:
    """Makes a pair of keys on a curve."""

    def made(curve: ec.EllipticCurve | None = None, *, passphrase: str = "") -> KeyPair:
        key = ec.generate_private_key(curve or ec.SECP256R1())
        folder = tmp_path_factory.mktemp("keys")
        encryption = BestAvailableEncryption(passphrase.encode()) if passphrase else NoEncryption()
        pair = KeyPair(folder / "key.pem", folder / "key.pub")
        pair.private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption))
        pair.public.write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
        return pair

    return made


@pytest.fixture(scope="session")
def keys(key_pair: Callable[..., KeyPair]) -> KeyPair:
    """One pair of keys on the curve P-256."""
    return key_pair()
