"""What the vault of a home tells a verifier: who somebody is, and by which key the house signs.

Holds: the reading of the vault's own files, with its master key. Does not hold: any import of the product, nor a check
(verify.py).
"""

from __future__ import annotations

import base64
import hmac
import sqlite3
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

SYSTEM = "urn:wardstream:patient-id"


def vault_of(home: Path) -> Path:
    """Where the vault of a home lies, if it has one of its own."""
    return home / "vault" / "vault.sqlite"


def public_key_of(home: Path) -> bytes:
    """The key (32 bytes) by which certificates of this house are known. Raises ValueError where no vault is there."""
    try:
        seed = _secret(home, "signing-key")
    except ValueError as error:
        raise ValueError(f"{error}; name the key of the house by --public-key, or anybody may have signed") from None
    return Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)


def tokens_of(home: Path, identifier: str) -> list[str]:
    """The tokens an identifier has had, by the vault's own files. Raises ValueError where the vault is not there."""
    key = _secret(home, "token-key")
    with sqlite3.connect(f"file:{vault_of(home)}?mode=ro", uri=True) as database:
        epochs = {0, *(e for (e,) in database.execute("SELECT epoch FROM erased WHERE epoch IS NOT NULL"))}
    return [_token(key, identifier, epoch) for epoch in sorted(epochs)]


def marks_of(home: Path, identifier: str) -> set[str]:
    """What the lists call whoever has this identifier, in each epoch. Raises as `tokens_of`."""
    key = _secret(home, "ledger-key")
    return {hmac.digest(key, f"erased|{token}".encode(), "sha256").hex() for token in tokens_of(home, identifier)}


def _secret(home: Path, name: str) -> bytes:
    """A key of the house. Raises ValueError where the vault, its master key or the key is not there."""
    vault = vault_of(home)
    master = vault.with_name("vault.sqlite.master.key")
    if not master.exists():
        raise ValueError("there is no vault with its master key in this home")
    with sqlite3.connect(f"file:{vault}?mode=ro", uri=True) as database:
        row = database.execute("SELECT wrapped FROM secrets WHERE name = ?", (name,)).fetchone()
    if row is None:
        raise ValueError("the vault of this home has no such key: nothing was certified under it")
    try:
        return AESGCM(master.read_bytes()).decrypt(row[0][:12], row[0][12:], name.encode())
    except InvalidTag:
        raise ValueError("the vault's master key does not open it") from None


def _token(key: bytes, identifier: str, epoch: int) -> str:
    parts = (SYSTEM.encode(), identifier.encode(), str(epoch).encode())
    message = b"".join(len(part).to_bytes(4, "big") + part for part in parts)
    return base64.b32encode(hmac.digest(key, message, "sha256")[:16]).decode().rstrip("=").lower()
