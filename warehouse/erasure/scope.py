"""What a request may be about: all of a person, or one category of use that rests on their consent.

Holds: the one reading of a category, for whoever makes a request (desk, message, revoke) and whoever works one off.
Does not hold: which tables a category means (inventory.py), nor whether consent is in force (restrictions.py).

Care, operations and payment rest on law: no consent ends them, and what serves them alone (the registry of consent
among it) leaves with the person and not before. So a word that is no category of consent is refused wherever it comes
from, and is never read as nothing, nor as everything.
"""

from __future__ import annotations

from warehouse.consent.decision import folded
from warehouse.contract_model import CONSENTED_PURPOSES

CATEGORIES = tuple(sorted(CONSENTED_PURPOSES))
NOT_KNOWN = "not known"
"""What the lists keep in the place of a word that is no category: a sender may have written anything."""


class ScopeError(ValueError):
    """A category that nobody can end. Says which can be; never the word itself."""


def category_of(asked: str | None) -> str | None:
    """The category that is meant, whatever its letters; None asks for all of the person. Raises `ScopeError`."""
    if asked is None:
        return None
    word = folded(asked)
    if word not in CONSENTED_PURPOSES:
        raise ScopeError(
            f"this is no category that rests on consent; {' and '.join(CATEGORIES)} are, and care, operations and "
            f"payment rest on law: only an erasure of all of the person ends those, and it names no category"
        )
    return word
