"""Put on PYTHONPATH by the poison scenario: a process that decodes a message with the marker dies on the spot.

Stands for what no code of ours can catch: a fault in a native library that one record provokes. The product knows
nothing of it. Does not hold: the marker's way into a message (scenarios/poison.py).
"""

from __future__ import annotations

import os
import signal
from typing import Any

import msgspec

MARKER = b"WARD-OF-THE-POISON"
_Decoder = msgspec.json.Decoder


class DeadlyDecoder:
    """msgspec's decoder, but for one message that it does not survive."""

    def __init__(self, *given: Any, **named: Any) -> None:
        self._decode = _Decoder(*given, **named).decode

    def decode(self, message: bytes) -> Any:
        if MARKER in message:
            os.kill(os.getpid(), signal.SIGKILL)
        return self._decode(message)


msgspec.json.Decoder = DeadlyDecoder  # ty: ignore[invalid-assignment]
