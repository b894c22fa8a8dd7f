"""Keys without a vault, for the tests of what seals under them."""

from __future__ import annotations

import hashlib


class FakeKeys:
    """Keys in memory; `gone` are destroyed."""

    def __init__(self, gone: frozenset[object] = frozenset()) -> None:
        self.gone = gone

    def data_keys(self, tokens):
        return {token: hashlib.sha256(token.encode()).digest() for token in tokens if token not in self.gone}

    def reject_key(self, day):
        return None if day in self.gone else hashlib.sha256(day.isoformat().encode()).digest()
