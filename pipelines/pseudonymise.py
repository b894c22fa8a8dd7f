"""Who a message is about, by its Kafka key alone: so that even one that cannot be decoded has its subject.

Holds: reading keys, once per distinct key of a batch, and refusing those that no one can be made of.
Does not hold: the token's definition (`warehouse/identity.py`); comparing key and payload (`pipelines/validate.py`).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.batch import Reject, StreamBatch
from warehouse.contract import StreamContract, TopicContract
from warehouse.identity import Tokenizer

STAGE = "pseudonymise"


def pseudonymise(batch: StreamBatch, tokenizer: Tokenizer, contract: StreamContract) -> StreamBatch:
    """The batch with `tokens` and `subjects` (both dictionary<string>[n]).

    Null for a device's key. A message without a key is rejected as `missing_key`, since its partition then says
    nothing of its patient; one whose key is neither a patient's nor a device's as `unreadable_key`.
    """
    assert contract.topic is not None, "only streams with a topic have keys"
    keys = pa.array(batch.messages.keys, pa.binary()).dictionary_encode()
    person, readable = _read(keys.dictionary, contract.topic)
    identifiers = keys.dictionary.filter(pa.array(person)).cast(pa.string())
    tokens = pa.array(tokenizer.tokens(identifiers.to_pylist()), pa.string())
    places = _places(keys, person)
    return replace(
        batch,
        tokens=pa.DictionaryArray.from_arrays(places, tokens),
        subjects=pa.DictionaryArray.from_arrays(places, identifiers),
        rejects=(*batch.rejects, *_rejects(keys, readable)),
    )


def _read(distinct: pa.Array, topic: TopicContract) -> tuple[np.ndarray, np.ndarray]:
    """bool[distinct] twice: keys that name a person, keys that can be read at all."""
    person = _matches(distinct, topic.key_pattern) & _is_text(distinct)
    device = _matches(distinct, topic.device_pattern)
    return person, person | device


def _matches(distinct: pa.Array, pattern: str | None) -> np.ndarray:
    if pattern is None:
        return np.zeros(len(distinct), bool)
    return pc.match_substring_regex(distinct, f"^(?:{pattern})$").to_numpy(zero_copy_only=False)


def _is_text(distinct: pa.Array) -> np.ndarray:
    """bool[distinct]: valid UTF-8. Rarely more than one cast."""
    try:
        distinct.cast(pa.string())
    except pa.ArrowInvalid:
        return np.array([_decodes(key) for key in distinct.to_pylist()], bool)
    return np.ones(len(distinct), bool)


def _decodes(key: bytes) -> bool:
    try:
        key.decode()
    except UnicodeDecodeError:
        return False
    return True


def _places(keys: pa.DictionaryArray, person: np.ndarray) -> pa.Array:
    """int32[n]: each message's place among the persons' keys, null for all other keys."""
    among_persons = pa.array(np.cumsum(person, dtype=np.int32) - 1, mask=~person)
    return among_persons.take(keys.indices)


def _rejects(keys: pa.DictionaryArray, readable: np.ndarray) -> list[Reject]:
    missing = [] if keys.null_count == 0 else np.flatnonzero(keys.indices.is_null().to_numpy(zero_copy_only=False))
    rejects = [Reject(int(at), STAGE, "missing_key") for at in missing]
    if not readable.all():
        unreadable = pc.fill_null(pa.array(~readable).take(keys.indices), False).to_numpy(zero_copy_only=False)
        rejects += [Reject(int(at), STAGE, "unreadable_key") for at in np.flatnonzero(unreadable)]
    return rejects
