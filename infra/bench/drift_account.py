"""The account of drift: what was found, what was done of it, what it brought; kept draw by draw.

Holds: counts by kind, the table, and the file a run goes on from (`results/TRIAL-SEED.jsonl`, a draw a line).
Does not hold: draws, looks, remedies.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from infra.bench import drift, results
from infra.bench.drift import Progress, Trial, Verdict
from infra.bench.drift_remedies import MEND, RECIPE, RETRAIN, Remedied
from infra.bench.drift_worlds import NONE, Shift
from infra.bench.report import Report, Value
from pipelines.clinical.sepsis.drift import POPULATION

COLUMNS = (
    "kind and size", "draws", "hits", "right cause", "right place", "false alarms", "mended", "retrained", "promoted",
    "utility before", "utility after",
)  # fmt: skip


def measure(trial: Trial, path: Path, draws: int, seed: int, record: str | None, progress: Progress) -> Report:
    """Draw, look, do what is asked for, and account. `seed` deals everything; give one that nobody chose.

    With `record`, the command that is kept with it, every draw is kept as it is made, and draws kept of the same seed
    are not made again. Raises `LearningSetError`.
    """
    kept_in = results.RECORDS / f"{trial.name}-{seed}.jsonl"
    verdicts = read(kept_in) if record and kept_in.exists() else []
    ground, remedies = drift.prepared(trial, path, seed, progress)
    done = [each.draw for each in verdicts]
    for verdict in drift.run(trial, ground, remedies, draws, seed, done, progress):
        verdicts.append(verdict)
        if record:
            with kept_in.open("a") as lines:
                lines.write(json.dumps(asdict(verdict)) + "\n")
            results.record([report(trial, verdicts, draws, seed, len(ground.facts))], record)
    return report(trial, verdicts, draws, seed, len(ground.facts))


def read(kept_in: Path) -> list[Verdict]:
    """The draws of a file, in the order in which they were made."""
    return [_verdict(json.loads(line)) for line in kept_in.read_text().splitlines()]


def _verdict(row: dict[str, Any]) -> Verdict:
    opened: dict[str, Any] = dict(row)
    for name in ("causes", "causes_at_end"):
        opened[name] = tuple((kind, tuple(items), where) for kind, items, where in row[name])
    opened["shift"] = Shift(**row["shift"])
    opened["remedied"] = Remedied(**row["remedied"]) if row["remedied"] else None
    return Verdict(**opened)


def report(trial: Trial, verdicts: Sequence[Verdict], draws: int, seed: int, stays: int) -> Report:
    """The account of the draws made so far."""
    figures = {"seed": seed, "stays": stays, "draws_asked_for": draws, **summary(verdicts)}
    by_kind: dict[str, list[Verdict]] = {}
    for verdict in verdicts:
        by_kind.setdefault(_kind(verdict.shift), []).append(verdict)
    return Report(
        name=trial.name,
        title=trial.title,
        data=f"{stays:,} stays of hospital A (PhysioNet 2019); {len(verdicts)} of {draws} draws of seed {seed}",
        columns=COLUMNS,
        rows=tuple(_row(kind, each) for kind, each in sorted(by_kind.items())),
        figures=figures,
        remarks=_remarks(trial, figures),
    )


def _row(kind: str, verdicts: Sequence[Verdict]) -> tuple[Value, ...]:
    done = [each.remedied for each in verdicts if each.remedied]
    both = [each for each in done if each.before is not None and each.after is not None]
    utility = [f"{np.mean([getattr(each, name) for each in both]):.3f}" if both else "" for name in _UTILITIES]
    return (
        kind,
        len(verdicts),
        sum(each.hit for each in verdicts),
        sum(each.right for each in verdicts),
        sum(each.placed for each in verdicts),
        sum(bool(each.false_alarms) for each in verdicts),
        sum(each.remedy == MEND for each in done),
        sum(each.remedy == RETRAIN for each in done),
        sum(bool(each.promoted) for each in done),
        *utility,
    )


_UTILITIES = ("before", "after")


def _kind(shift: Shift) -> str:
    way = "" if shift.kind != POPULATION else "arrives" if shift.arrives else "leaves"
    return " ".join(filter(None, (shift.kind, shift.where, way)))


def summary(verdicts: Sequence[Verdict]) -> dict[str, Any]:
    """Counts over all draws, and every draw that was missed or retrained for."""
    shifted = [each for each in verdicts if each.shift.kind != NONE]
    still = [each for each in verdicts if each.shift.kind == NONE]
    delays = [
        each.alarm_day - each.shift.day
        for each in shifted
        if each.alarm_day is not None and each.right and not each.false_alarms
    ]
    retrained = [each for each in verdicts if each.remedied and each.remedied.remedy == RETRAIN]
    return {
        "draws": len(verdicts),
        "with_shift": len(shifted),
        "hits": sum(each.hit for each in shifted),
        "right_cause": sum(each.right for each in shifted),
        "right_place": sum(each.placed for each in shifted),
        "without_shift": len(still),
        "false_alarms_without_shift": sum(bool(each.false_alarms) for each in still),
        "false_alarms_before_a_shift": sum(bool(each.false_alarms) for each in shifted),
        "median_days_to_alarm": float(np.median(delays)) if delays else None,
        "remedies": dict(Counter(each.remedied.remedy for each in verdicts if each.remedied)),
        "retrained": [asdict(each) for each in retrained],
        "promoted": sum(bool(each.remedied and each.remedied.promoted) for each in retrained),
        "misses": [asdict(each) for each in shifted if not each.right],
    }


def _remarks(trial: Trial, figures: dict[str, Any]) -> tuple[str, ...]:
    gained = [
        f"{each['remedied']['after'] - each['remedied']['before']:+.3f}"
        f" ({'promoted' if each['remedied']['promoted'] else 'not promoted'}: {each['remedied']['reason']})"
        for each in figures["retrained"]
        if each["remedied"]["before"] is not None and each["remedied"]["after"] is not None
    ]
    return (
        f"{figures['hits']} of {figures['with_shift']} shifts found, {figures['right_cause']} with the right cause, "
        f"{figures['right_place']} in the right place; {figures['false_alarms_without_shift']} of "
        f"{figures['without_shift']} draws without a shift raised an alarm, {figures['false_alarms_before_a_shift']} "
        f"of {figures['with_shift']} before their shift.",
        f"Utilities are means over draws, of small models ({RECIPE.members} members of {RECIPE.trees} trees, learnt "
        f"from {trial.learnt:,} stays of the reference), on live stays since the shift that they had not seen: to be "
        "compared with each other only.",
        f"Retrained for {len(figures['retrained'])} times, promoted {figures['promoted']}: "
        + ("; ".join(gained) or "none"),
    )
