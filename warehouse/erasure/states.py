"""The states of a request for erasure and what leads from one to the next.

Holds: the order, which states are ends, and the step that is due. Pure.
Does not hold: any doing (run.py).
"""

from __future__ import annotations

RECEIVED, VERIFIED, RESTRICTED, REFUSED = "received", "verified", "restricted", "refused"
FENCED, SHREDDED, DELETED, SEALED, EXPIRED = "fenced", "shredded", "deleted", "sealed", "expired"
PURGED, MODELS, PROVEN, CERTIFIED = "purged", "models", "proven", "certified"

WHOLE = (VERIFIED, FENCED, SHREDDED, DELETED, SEALED, MODELS, EXPIRED, PURGED, PROVEN, CERTIFIED)
"""What a request goes through that asks for all of a person. Models go before snapshots: their tags keep these."""
OF_A_CATEGORY = (VERIFIED, DELETED, SEALED, MODELS, EXPIRED, PURGED, PROVEN, CERTIFIED)
"""What one goes through that ends a category of use: the person stays, and so does their key."""
LOCATED, INTENDED = "located", "intended"
"""What receipts tell of before anything is changed; no states."""
STATES = (RECEIVED, RESTRICTED, REFUSED, *WHOLE)
ENDS = frozenset({CERTIFIED, REFUSED})
REVERSIBLE = frozenset({RECEIVED, VERIFIED, RESTRICTED})
"""Before the fence nothing was done to the person's data; behind it there is no way back."""


def rank(state: str) -> int:
    """How far a state is. Verified and restricted may follow one another; refused ends both; the fence is beyond."""
    return {RECEIVED: 0, VERIFIED: 1, RESTRICTED: 1, REFUSED: 2}.get(state, 2 + STATES.index(state))


class StateError(ValueError):
    """A request cannot go from its state to the one that was asked for. The message says what is possible."""


def following(state: str, category: str | None) -> str | None:
    """The state that is next; None at an end, and where a person must act first (received: verification)."""
    if state == RESTRICTED:
        # What kept it back is looked at again before anything is done.
        state = VERIFIED
    way = way_of(category)
    if state not in way or state == way[-1]:
        return None
    return way[way.index(state) + 1]


def way_of(category: str | None) -> tuple[str, ...]:
    """The states from verification to the certificate."""
    return WHOLE if category is None else OF_A_CATEGORY


def require(state: str, *allowed: str) -> None:
    """Raises `StateError` unless the state is one of those allowed."""
    if state not in allowed:
        raise StateError(f"the request is {state}; this needs one that is {' or '.join(allowed)}")
