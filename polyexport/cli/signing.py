"""The private key that a user names on the command line, and its passphrase."""

import getpass
import os
import sys
from pathlib import Path

from polyexport.errors import UsageError
from polyexport.model.signature import SigningKey

__all__ = ["PASSPHRASE_VARIABLE", "read_signing_key"]

PASSPHRASE_VARIABLE = "POLYEXPORT_KEY_PASSPHRASE"  # noqa: S105 - the name of a variable, not a passphrase
"""Environment variable with the passphrase of an encrypted key. Every user of a machine can see its command lines."""


def read_signing_key(file: Path) -> SigningKey:
    """Read a private key; the passphrase of an encrypted one comes from the environment or from the terminal.

    Raises:
        UsageError: the key is encrypted, and there is neither the variable nor a terminal.
        SignatureError: the file is not a private key, or the passphrase is wrong.
    """

    def passphrase() -> str:
        given = os.environ.get(PASSPHRASE_VARIABLE)
        if given is not None:
            return given
        if sys.stdin is None or not sys.stdin.isatty():
            raise UsageError(f"key {file} is encrypted", remedy=f"set {PASSPHRASE_VARIABLE}, or run this in a terminal")
        return getpass.getpass(f"Passphrase of {file}: ")

    return SigningKey.read(file, passphrase)
