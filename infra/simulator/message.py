"""A right message of any stream before it leaves: its fields and when it is due.

Holds: the shape, and what every sender does alike (event ids, times, JSON without white space).
Does not hold: who sends what (`laboratory`, `admissions`, `pharmacy`, `wearables`, `waves`), or what befalls it
(`hazards`).
"""

from __future__ import annotations

import json
from random import Random
from typing import Any, NamedTuple


class Message(NamedTuple):
    """One right message.

    Attributes:
        stream, kind: whose message it is, and what it stands for.
        patient: the patient of the key; None where `device` is the key.
        due_ms: ward time at which it is handed to Kafka, milliseconds since 1970 UTC.
        fields: the JSON object.
    """

    stream: str
    kind: str
    patient: str | None
    due_ms: int
    fields: dict[str, Any]

    @property
    def key(self) -> bytes:
        return (self.patient or f"device:{self.fields['device_id']}").encode()

    def encode(self) -> bytes:
        return encoded(self.fields)


def encoded(fields: dict[str, Any]) -> bytes:
    """One JSON object, UTF-8, without white space."""
    return json.dumps(fields, separators=(",", ":"), ensure_ascii=False).encode()


def new_id(rng: Random) -> str:
    """A UUID of this generator."""
    digits = f"{rng.getrandbits(128):032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def opaque_id(*parts: object) -> str:
    """The number of an order or a stay, the same for the same parts. The lake keeps it in clear: no patient id is to be
    read in it."""
    return new_id(Random("/".join(map(str, parts))))
