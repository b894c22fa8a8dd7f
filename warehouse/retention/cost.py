"""What the lake's storage costs by tier, and what a plan would change about it.

Holds: prices, those of the site or examples that are called so, and the arithmetic.
Does not hold: least storage times, transfer between regions, or what queries of cold files cost: a bill is the store's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from warehouse.retention.plan import COOL, REMOVE, WARM, Action, RetentionPlan, TableState

GB = 1e9
EXAMPLES: Mapping[str, float] = {
    "warm": 0.023,
    "cold": 0.004,
    "put": 0.005,
    "get": 0.0004,
    "cold_put": 0.02,
    "cold_get": 0.01,
}
"""Per GB and month, and per 1,000 requests. Of the order of one large provider's list; no offer of anybody."""

CURRENCY = "currency"
PUTS_OF_A_COMMIT = 4
"""The record, the manifest, the manifest list, the metadata."""


class PriceError(ValueError):
    """WARDSTREAM_PRICES names something else than prices. The message says what it takes."""


@dataclass(frozen=True, slots=True)
class Prices:
    """Per GB and month: warm, cold. Per 1,000 requests: put, get, cold_put, cold_get. `examples`: which are not the
    site's own."""

    warm: float
    cold: float
    put: float
    get: float
    cold_put: float
    cold_get: float
    currency: str
    examples: tuple[str, ...]

    @classmethod
    def of(cls, given: Mapping[str, str]) -> Prices:
        """The site's prices where it gives them, examples else. Raises `PriceError`."""
        try:
            own = {name: float(text) for name, text in given.items() if name != CURRENCY}
        except ValueError:
            own = {"": -1.0}
        if not set(own) <= set(EXAMPLES) or any(value < 0 for value in own.values()):
            raise PriceError(f"WARDSTREAM_PRICES takes {', '.join(EXAMPLES)} as numbers from 0, and {CURRENCY}")
        return cls(**{**EXAMPLES, **own}, currency=given.get(CURRENCY, "USD"), examples=tuple(set(EXAMPLES) - set(own)))


@dataclass(frozen=True, slots=True)
class Tiers:
    """Bytes by tier, and what they cost a month."""

    warm_bytes: int
    cold_bytes: int
    monthly: float


@dataclass(frozen=True, slots=True)
class Cost:
    """Before and after a plan (once its undo windows are over), and what doing it costs once, in requests and money."""

    before: Tiers
    after: Tiers
    requests: Mapping[str, int]
    once: float


def cost_of(states: Iterable[TableState], plan: RetentionPlan, prices: Prices) -> Cost:
    """What the tables cost now, and will after the plan."""
    states, warm, cold = list(states), 0, 0
    for state in states:
        size = sum(live.file.file_size_in_bytes for live in state.files if state.is_warm(live))
        warm += size
        cold += sum(live.file.file_size_in_bytes for live in state.files) - size
    cooled, warmed = _bytes(plan, COOL), _bytes(plan, WARM)
    by_path = {state.table: state for state in states}
    from_cold = sum(_cold_bytes(action, by_path[action.table]) for action in plan.actions if action.kind == REMOVE)
    removed = _bytes(plan, REMOVE)
    requests = requests_of(plan)
    return Cost(
        before=_tiers(warm, cold, prices),
        after=_tiers(warm - cooled + warmed - (removed - from_cold), cold + cooled - warmed - from_cold, prices),
        requests=requests,
        once=sum(n / 1000 * getattr(prices, name) for name, n in requests.items()),
    )


def requests_of(plan: RetentionPlan) -> dict[str, int]:
    """Requests that doing the plan takes, by price; deletes are free at the stores we know."""
    cooled = sum(len(action.files) for action in plan.actions if action.kind == COOL)
    warmed = sum(len(action.files) for action in plan.actions if action.kind == WARM)
    commits = sum(1 for action in plan.actions if action.kind in (COOL, WARM))
    commits += len({action.table for action in plan.actions if action.kind == REMOVE})
    return {"put": warmed + commits * PUTS_OF_A_COMMIT, "get": cooled, "cold_put": cooled, "cold_get": warmed}


def _bytes(plan: RetentionPlan, kind: str) -> int:
    return sum(action.bytes for action in plan.actions if action.kind == kind)


def _cold_bytes(action: Action, state: TableState) -> int:
    if state.undated is not None:
        return 0
    return sum(live.file.file_size_in_bytes for live in action.files if not state.is_warm(live))


def _tiers(warm: int, cold: int, prices: Prices) -> Tiers:
    return Tiers(warm, cold, warm / GB * prices.warm + cold / GB * prices.cold)
