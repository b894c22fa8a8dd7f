"""Who a message is about, by its Kafka key alone: so that even one that cannot be decoded has its subject.

Holds: reading keys, once per distinct key of a batch, and refusing those that no one can be made of.
Does not hold: the token's definition (`warehouse/identity.py`); comparing key and payload (`pipelines/validate.py`).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.batch import ERASED, Reject, StreamBatch
from warehouse.contract import StreamContract, TopicContract
from warehouse.identity import Tokenizer

STAGE = "pseudonymise"


def pseudonymise(batch: StreamBatch, tokenizer: Tokenizer, contract: StreamContract) -> StreamBatch:
    """The batch with `tokens` and `subjects` (both dictionary<string>[n]).

    Null for a device's key. A message without a key is rejected as `missing_key`, since its partition then says
    nothing of its patient; one whose key is neither a patient's nor a device's as `unreadable_key`; one of somebody who
    was erased is refused as `erased`.
    """
    assert contract.topic is not None, "only streams with a topic have keys"
    keys = pa.array(batch.messages.keys, pa.binary()).dictionary_encode()
    person, readable = _read(keys.dictionary, contract.topic)
    identifiers = keys.dictionary.filter(pa.array(person)).cast(pa.string())
    named = identifiers.to_pylist()
    tokens = pa.array(tokenizer.tokens(named), pa.string())
    erased = np.zeros(len(person), bool)
    if tokens.null_count:
        erased[person] = tokens.is_null().to_numpy(zero_copy_only=False)
        identifiers, tokens = identifiers.filter(tokens.is_valid()), tokens.drop_null()
    places = _places(keys, person & ~erased)
    refused = _of(keys, erased)
    if returned := tokenizer.returned_ms(named):
        before = _appended_before(batch.messages.appended_ms, places, identifiers, returned)
        places, refused = pc.if_else(pa.array(before), pa.scalar(None, places.type), places), refused | before
    return replace(
        batch,
        tokens=pa.DictionaryArray.from_arrays(places, tokens),
        subjects=pa.DictionaryArray.from_arrays(places, identifiers),
        rejects=(*batch.rejects, *_rejects(keys, readable), *_refused(refused)),
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


def _of(keys: pa.DictionaryArray, chosen: np.ndarray) -> np.ndarray:
    """bool[n]: messages with one of these distinct keys."""
    if not chosen.any():
        return np.zeros(len(keys), bool)
    return pc.fill_null(pa.array(chosen).take(keys.indices), False).to_numpy(zero_copy_only=False)


def _appended_before(
    appended_ms: np.ndarray, places: pa.Array, identifiers: pa.Array, returned_ms: dict[str, int]
) -> np.ndarray:
    """bool[n]: messages of somebody who returned that are from before they did."""
    since = np.array([returned_ms.get(each, 0) for each in identifiers.to_pylist()], np.int64)
    begins = pc.fill_null(pa.array(since).take(places), 0).to_numpy(zero_copy_only=False)
    return appended_ms < begins


def _refused(theirs: np.ndarray) -> list[Reject]:
    return [Reject(int(at), STAGE, ERASED) for at in np.flatnonzero(theirs)]


def _rejects(keys: pa.DictionaryArray, readable: np.ndarray) -> list[Reject]:
    missing = [] if keys.null_count == 0 else np.flatnonzero(keys.indices.is_null().to_numpy(zero_copy_only=False))
    rejects = [Reject(int(at), STAGE, "missing_key") for at in missing]
    if not readable.all():
        rejects += [Reject(int(at), STAGE, "unreadable_key") for at in np.flatnonzero(_of(keys, ~readable))]
    return rejects
