"""Whom a model learned from: pseudonyms, sealed in the store, so that an erasure can tell which models knew a person.

Holds: sealing the list, opening it, which models are concerned, and whom the ids of a file name.
Does not hold: what becomes of such a model (it is trained anew without them), nor the key (`warehouse/vault.py`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable

from warehouse.contract_model import TopicContract
from warehouse.identity import Epochs, Tokenizer, associated_data, seal, unseal
from warehouse.models.registry import Model, Registry, successors

_PSEUDONYM = re.compile("[a-z2-7]{26}")


def seal_people(key: bytes, version: str, tokens: Collection[str]) -> bytes:
    """The sorted pseudonyms under the vault's key of this purpose, bound to the model's version."""
    return seal(json.dumps(sorted(set(tokens))).encode(), key, _place(version))


def open_people(key: bytes, version: str, sealed: bytes) -> set[str]:
    """Raises `SealError`."""
    return set(json.loads(unseal(sealed, key, _place(version))))


def models_that_knew(registry: Registry, key: bytes, tokens: Iterable[str]) -> dict[str, set[str]]:
    """The versions of registered models that learned from any of these people, and from which. Raises `SealError`,
    `ArtefactError`, OSError."""
    sought = set(tokens)
    return {model.version: sought & people for model, people in whom_models_knew(registry, key) if sought & people}


def whom_models_knew(registry: Registry, key: bytes) -> list[tuple[Model, set[str]]]:
    """The registered models that learned from people of this lake, but for those that were withdrawn, and from whom.
    Raises as above."""
    gone = successors(registry.roles())
    known = [each for each in registry.models().values() if each.learnt_from and each.version not in gone]
    return [(each, open_people(key, each.version, registry.files.get(each.learnt_from))) for each in known]


def named_by(
    ids: Collection[str], topics: Iterable[TopicContract], token_key: bytes, epochs: Epochs
) -> dict[str, set[str]]:
    """Of each id the pseudonyms of the person it names: itself where it has the shape of one, and where it is an
    identifier that a topic has as its key, the first and the present one of that patient. None of an id of another
    kind: whom it names cannot be told."""
    named = {each: {each} if _PSEUDONYM.fullmatch(each) else set() for each in ids}
    for system, pattern in sorted({(topic.key_system, topic.key_pattern or "(?!)") for topic in topics}):
        identifiers = [each for each in named if re.fullmatch(pattern, each)]
        for tokenizer in (Tokenizer(token_key, system), Tokenizer(token_key, system, epochs)):
            for each, token in zip(identifiers, tokenizer.tokens(identifiers), strict=True):
                named[each] |= {token} if token else set()
    return named


def _place(version: str) -> bytes:
    return associated_data("models", "learnt_from", version)
