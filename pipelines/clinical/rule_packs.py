"""Rule packs: the numbers of the rules as small validated YAML, in versions that hold from an append time on.

Holds: what each rule may be told (one struct a rule), reading and checking of a file, and which pack holds when.
Does not hold: what a rule does with its numbers (one module a rule), nor any clock: who reloads says when.

A site's pack states only what differs from the pack that comes with the product. A rule that it names bears the pack's
version, the others keep theirs: their alerts keep their ids and their open episodes. `from` is an append time, so a
replay decides every message by the pack it was decided by at first.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from importlib.resources import files
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any

import msgspec
import yaml
from msgspec import Meta

from pipelines.clinical.signals import ANALYTES, SIGNALS
from warehouse.vocabulary import FIO2, SUPPLEMENTAL_OXYGEN

_Positive = Annotated[float, Meta(gt=0)]
_NotNegative = Annotated[float, Meta(ge=0)]
_Count = Annotated[int, Meta(ge=1)]


class RulePackError(ValueError):
    """A pack that cannot be used: the message says which file, where in it, and what to write there."""


class Rule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What every rule may be told.

    Attributes:
        enabled: a rule that is not finds nothing.
        wards: where it looks; empty: everywhere.
    """

    enabled: bool = True
    wards: tuple[str, ...] = ()


class Threshold(Rule, frozen=True, kw_only=True):
    """Inclusive limits of one signal in its canonical unit; None: no limit on that side."""

    critical_low: float | None = None
    warning_low: float | None = None
    warning_high: float | None = None
    critical_high: float | None = None
    margin: _NotNegative
    source: Annotated[str, Meta(min_length=1)]

    def __post_init__(self) -> None:
        edges = [self.critical_low, self.warning_low, self.warning_high, self.critical_high]
        given = [edge for edge in edges if edge is not None]
        if not given:
            raise ValueError("a threshold needs at least one limit")
        if given != sorted(given):
            raise ValueError("limits must rise: critical_low, warning_low, warning_high, critical_high")


class News2Rule(Rule, frozen=True, kw_only=True):
    """Triggers on the score of `news2.py`, whose chart is not a matter of taste."""

    red_score: Annotated[int, Meta(ge=1, le=3)]
    urgent: _Count
    emergency: _Count
    clear: Annotated[int, Meta(ge=0)]

    def __post_init__(self) -> None:
        if not self.clear < self.urgent < self.emergency:
            raise ValueError("clear, urgent, emergency must rise")


class QsofaRule(Rule, frozen=True, kw_only=True):
    respiratory_rate: _Positive
    sbp: _Positive
    points: Annotated[int, Meta(ge=1, le=3)]


class ShockIndexRule(Rule, frozen=True, kw_only=True):
    warning: _Positive
    critical: _Positive
    margin: _NotNegative

    def __post_init__(self) -> None:
        if not self.margin < self.warning < self.critical:
            raise ValueError("margin, warning, critical must rise")


class SirsRule(Rule, frozen=True, kw_only=True):
    temperature_above: _Positive
    temperature_below: _Positive
    heart_rate_above: _Positive
    respiratory_rate_above: _Positive
    paco2_below: _Positive
    leukocytes_above: _Positive
    leukocytes_below: _Positive
    criteria: Annotated[int, Meta(ge=1, le=4)]

    def __post_init__(self) -> None:
        if self.temperature_below >= self.temperature_above or self.leukocytes_below >= self.leukocytes_above:
            raise ValueError("what is below must be lower than what is above")


class SofaRule(Rule, frozen=True, kw_only=True):
    points: Annotated[int, Meta(ge=1, le=20)]


class ShockTrendRule(Rule, frozen=True, kw_only=True):
    """`windows` of five minutes each; a fall of variability as a share, of arterial pressure in mm[Hg]."""

    windows: Annotated[int, Meta(ge=4, le=24)]
    least_windows: Annotated[int, Meta(ge=3, le=24)]
    variability_fall: Annotated[float, Meta(gt=0, lt=1)]
    map_fall: _Positive

    def __post_init__(self) -> None:
        if self.least_windows > self.windows:
            raise ValueError("least_windows must not be above windows")


class ExcursionRule(Rule, frozen=True, kw_only=True):
    """Glucose beyond `limit` for longer than `minutes`; beyond `urgent` at once. `interval_minutes`: the sensor's."""

    limit: _Positive
    urgent: _Positive | None = None
    minutes: _Positive
    interval_minutes: _Positive
    margin: _NotNegative


class AbsenceRule(Rule, frozen=True, kw_only=True):
    """Nothing heard of a monitored signal for longer than `minutes`."""

    minutes: Annotated[float, Meta(ge=0.05, le=1440)]


_NO_LIMITS = (SUPPLEMENTAL_OXYGEN, FIO2)
LOW, HIGH = "glucose.low", "glucose.high"
KINDS: Mapping[str, type[Rule]] = {
    **{f"threshold.{signal.name}": Threshold for signal in (*SIGNALS, *ANALYTES) if signal.code not in _NO_LIMITS},
    "news2": News2Rule,
    "qsofa": QsofaRule,
    "shock_index": ShockIndexRule,
    "sirs": SirsRule,
    "sofa": SofaRule,
    "shock_trend": ShockTrendRule,
    LOW: ExcursionRule,
    HIGH: ExcursionRule,
    **{f"absence.{signal.name}": AbsenceRule for signal in SIGNALS if not signal.words},
}  # fmt: skip
"""Every rule there is, by name."""


@dataclass(frozen=True, slots=True)
class RulePack:
    """Rules in force together.

    Attributes:
        from_ms: append time from which they hold, milliseconds since 1970 UTC.
        rules: name -> the rule's numbers. A rule that is not named finds nothing.
        versions: name -> the version that its alerts bear.
    """

    name: str
    version: str
    from_ms: int
    rules: Mapping[str, Rule] = field(repr=False)
    versions: Mapping[str, str] = field(repr=False)


class _File(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    pack: Annotated[str, Meta(min_length=1, max_length=64)]
    version: Annotated[str, Meta(min_length=1, max_length=32, pattern=r"^[0-9A-Za-z._-]+$")]
    rules: dict[str, dict[str, Any]]
    holds_from: datetime | None = msgspec.field(default=None, name="from")


@cache
def built_in() -> RulePack:
    """The pack that comes with the product; it holds from ever."""
    text = files("pipelines.clinical").joinpath("rules.yaml").read_text("utf-8")
    file = _read(text, "rules.yaml")
    rules = {name: _rule(name, told, "rules.yaml") for name, told in file.rules.items()}
    return RulePack(file.pack, file.version, 0, rules, dict.fromkeys(rules, file.version))


def parse(text: str, origin: str) -> RulePack:
    """A site's pack. `origin` names it in errors. Raises `RulePackError`."""
    file, base = _read(text, origin), built_in()
    if file.holds_from is None or file.holds_from.tzinfo is None:
        raise RulePackError(f"{origin}: from: write the append time from which it holds, e.g. 2026-11-22T18:00:00Z")
    if file.version == base.version:
        raise RulePackError(
            f"{origin}: version: {base.version} is the version of the pack that is built in; take another"
        )
    told = {name: _merged(base.rules.get(name), changes) for name, changes in file.rules.items()}
    changed = {name: _rule(name, fields, origin) for name, fields in told.items()}
    return RulePack(
        file.pack,
        file.version,
        round(file.holds_from.timestamp() * 1000),
        {**base.rules, **changed},
        {**base.versions, **dict.fromkeys(changed, file.version)},
    )


def load(folder: Path) -> list[RulePack]:
    """The packs of a folder, by the time from which they hold. Raises `RulePackError`."""
    packs = [read_file(path) for path in sorted(folder.glob("*.y*ml"))]
    packs.sort(key=_from_ms)
    for earlier, later in pairwise(packs):
        if earlier.from_ms == later.from_ms:
            raise RulePackError(
                f"{folder}: {earlier.version} and {later.version} hold from the same moment; change one"
            )
    for version, packs_of in Counter(pack.version for pack in packs).items():
        if packs_of > 1:
            raise RulePackError(f"{folder}: {packs_of} packs are version {version}; each needs one of its own")
    return packs


def read_file(path: Path) -> RulePack:
    """Raises `RulePackError`."""
    try:
        return parse(path.read_text("utf-8"), path.name)
    except (OSError, UnicodeDecodeError) as error:
        raise RulePackError(f"{path.name}: cannot be read ({type(error).__name__})") from None


def _from_ms(pack: RulePack) -> int:
    return pack.from_ms


def _read(text: str, origin: str) -> _File:
    try:
        told = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" in line {mark.line + 1}" if mark else ""
        raise RulePackError(f"{origin}: not YAML{where}") from None
    try:
        return msgspec.convert(told, _File)
    except msgspec.ValidationError as error:
        raise RulePackError(f"{origin}: {error}") from None


def _merged(base: Rule | None, changes: Mapping[str, Any]) -> dict[str, Any]:
    return {**(msgspec.to_builtins(base) if base is not None else {}), **changes}


def _rule(name: str, told: Mapping[str, Any], origin: str) -> Rule:
    if name not in KINDS:
        raise RulePackError(f"{origin}: rules.{name}: there is no such rule; rules are {', '.join(KINDS)}")
    try:
        return msgspec.convert(told, KINDS[name])
    except msgspec.ValidationError as error:
        raise RulePackError(f"{origin}: rules.{name}: {error}") from None


class PacksInForce:
    """The built-in pack and a site's packs; which one holds for a message follows from its append time alone."""

    def __init__(self, site: Sequence[RulePack] = ()) -> None:
        self._packs = [built_in(), *site]
        self._starts = [pack.from_ms for pack in self._packs]

    def __len__(self) -> int:
        return len(self._packs)

    def nth(self, at: int) -> RulePack:
        return self._packs[at]

    def at(self, appended_ms: int) -> int:
        """Which pack (`nth`) holds for what was appended at this time."""
        return bisect_right(self._starts, appended_ms) - 1
