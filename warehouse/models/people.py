"""Whom a model learned from: pseudonyms, sealed in the store, so that an erasure can tell which models knew a person.

Holds: sealing the list, opening it, and which models are concerned.
Does not hold: what becomes of such a model (it is trained anew without them), nor the key (`warehouse/vault.py`).
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable

from warehouse.identity import associated_data, seal, unseal
from warehouse.models.registry import Model, Registry, successors


def seal_people(key: bytes, version: str, tokens: Collection[str]) -> bytes:
    """The sorted pseudonyms under the vault's key of this purpose, bound to the model's version."""
    return seal(json.dumps(sorted(set(tokens))).encode(), key, _place(version))


def open_people(key: bytes, version: str, sealed: bytes) -> set[str]:
    """Raises `SealError`."""
    return set(json.loads(unseal(sealed, key, _place(version))))


def models_that_knew(registry: Registry, key: bytes, tokens: Iterable[str]) -> list[Model]:
    """The registered models that learned from any of these people. Raises `SealError`, `ArtefactError`, OSError."""
    sought = set(tokens)
    return [model for model, people in whom_models_knew(registry, key) if sought & people]


def whom_models_knew(registry: Registry, key: bytes) -> list[tuple[Model, set[str]]]:
    """The registered models that learned from people of this lake, but for those that were withdrawn, and from whom.
    Raises as above."""
    gone = successors(registry.roles())
    known = [each for each in registry.models().values() if each.learnt_from and each.version not in gone]
    return [(each, open_people(key, each.version, registry.files.get(each.learnt_from))) for each in known]


def _place(version: str) -> bytes:
    return associated_data("models", "learnt_from", version)
