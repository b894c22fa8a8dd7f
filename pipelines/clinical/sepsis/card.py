"""The page of a model: what a clinician wants to know before believing it.

Holds: one HTML page with inline plots, made of a model's metadata alone; it loads nothing from anywhere.
Does not hold: measures (`evaluate`), drawing (`plots`), any value of a patient.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from pipelines.clinical.sepsis.model_files import ModelFiles
from pipelines.clinical.sepsis.plots import INK, OTHER, SOFT, WARN, Axis, Frame, bar, dot, line, said, whisker
from pipelines.clinical.sepsis.trees import importance
from pipelines.clinical.sepsis.variables import VARIABLES

_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:64rem;padding:0 1rem;color:#1b2733;background:#fff}
h1{font-size:1.5rem;margin-bottom:0} h2{font-size:1.15rem;margin-top:2.2rem} .note{color:#506070}
table{border-collapse:collapse;width:100%} th,td{text-align:right;padding:.3rem .6rem;border-bottom:1px solid #dde3e9}
th{font-weight:600;color:#506070} th:first-child,td:first-child{text-align:left} code{font-size:.92em}
.warn{border-left:4px solid #a31621;background:#fdf3f3;padding:.6rem 1rem} .pair{display:flex;flex-wrap:wrap;gap:1.5rem}
.pair>figure{flex:1 1 26rem;margin:0} figcaption{color:#506070;font-size:.93em} svg{width:100%;height:auto}
svg text{font:11px system-ui,sans-serif} .big{display:flex;flex-wrap:wrap;gap:2rem;margin:1rem 0}
.big div{min-width:8rem} .big b{display:block;font-size:1.6rem;line-height:1.2}
"""
_MUST_NOT = (
    "It must not be the only thing between a patient and harm: it is no alarm, and the monitor at the bedside is.",
    "It must not be used to rule sepsis out: silence says little (see the share of septic stays it never alerted on).",
    "It must not be used for children, on wards, in emergency departments or at home: it has seen adults in intensive "
    "care only.",
    "Its risk must not be read as a chance in another hospital before it has been calibrated there: how often one "
    "measures, and whom one admits, differ, and both move it.",
    "It must not decide on treatment, on admission or on who gets a bed.",
    "It is not a medical device and has been cleared by no authority.",
)


def page(model: ModelFiles) -> str:
    """The model's page, whole."""
    about = model.metadata
    figures, learnt = about["figures"], about["learning_set"]
    parts = (
        _head(model),
        _recalibrated(about.get("recalibrated")),
        _numbers(figures),
        "<h2>What it must not be used for</h2><div class=warn><ul>"
        + "".join(f"<li>{line_}</li>" for line_ in _MUST_NOT)
        + "</ul></div>",
        _burden(figures),
        _calibration_and_lead(figures),
        _subgroups(figures),
        _seen(learnt),
        _reads(model),
        _how(about, figures),
    )
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>Sepsis model {escape(model.version)}</title><style>{_STYLE}</style></head><body>"
        f"{''.join(parts)}</body></html>\n"
    )


def _head(model: ModelFiles) -> str:
    learnt = model.metadata["learning_set"]
    return (
        f"<h1>Sepsis model <code>{escape(model.version)}</code></h1>"
        "<p>Each hour it says how likely it is that the patient is within six hours of the onset of sepsis (Sepsis-3) "
        f"or past it, from vital signs and laboratory results of the last {model.metadata['window_h']} hours, age, sex "
        f"and hours in intensive care. Learnt from {learnt['stays']:,} stays ({learnt['septic_stays']:,} with sepsis), "
        f"{escape(str(learnt.get('source', 'a file')))}.</p>"
        "<p class=note>All figures below are of stays the judged model had not seen: trees, threshold and calibration "
        "were fixed without them.</p>"
    )


def _recalibrated(anew: Mapping[str, Any] | None) -> str:
    """What is to be known of a calibration made after training; nothing where there was none."""
    if anew is None:
        return ""
    before, after = anew["before"], anew["after"]
    return (
        f"<h2>Calibrated anew</h2><p>The trees and the threshold are those of <code>{escape(anew['of'])}</code>; its "
        f"risks were fitted to {anew['fitted_to']:,} of {anew['stays']:,} stays with an outcome "
        f"({anew['septic_stays']:,} with sepsis) that the trees had not learnt from. Of stays that neither calibration "
        f"was fitted to it said a mean risk of {after['mean_risk']:.2%} (before: {before['mean_risk']:.2%}) where "
        f"{after['observed']:.2%} of hours were seen; mean error {after['calibration_error']:.2%} (before: "
        f"{before['calibration_error']:.2%}), Brier {after['brier']:.4f} (before: {before['brier']:.4f}). "
        "All risks below are those before.</p>"
    )


def _numbers(figures: Mapping[str, Any]) -> str:
    every, clock, bounds = figures["all"], figures["clock"], figures["utility_interval"]
    within = f"95 % {bounds[0]:.3f} to {bounds[1]:.3f}; " if bounds else ""
    cells = (
        (_number(every["utility"]), f"official utility ({within}the clock alone {_number(clock['utility'])})"),
        (_number(every["auroc"]), "AUROC over hours"),
        (_number(every["auprc"]), f"AUPRC over hours (by chance {every['observed']:.3f})"),
        (f"{every['alert_hours_per_patient_day']:.1f}", "hours with an alert per patient-day"),
        (_percent(every["septic_stays_alerted_before_onset"]), "of septic stays alerted on in the 12 h before onset"),
        (_percent(every["other_stays_alerted"]), "of other stays alerted on at least once"),
    )
    return '<div class="big">' + "".join(f"<div><b>{big}</b>{small}</div>" for big, small in cells) + "</div>"


def _beside(curve: Sequence[Mapping[str, float]]) -> tuple[float, float]:
    """Where words stand clear of a curve: right of where it falls below a third of its height."""
    points = [(each["alert_hours_per_patient_day"], each["utility"]) for each in curve]
    third = max(utility for _, utility in points) / 3
    hours, utility = max((point for point in points if point[1] >= third), default=points[-1])
    return min(hours, 10.0), utility


def _burden(figures: Mapping[str, Any]) -> str:
    curve, clock, every = figures["burden_curve"], figures["clock_curve"], figures["all"]
    frame = Frame(
        Axis(0, 12, range(0, 13, 2), "hours with an alert per patient-day"),
        Axis(0, 0.6, (0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6), "official utility"),
        width=620,
    )
    here = every["alert_hours_per_patient_day"], every["utility"] or 0.0
    marks = (
        line(frame, [(each["alert_hours_per_patient_day"], each["utility"]) for each in clock], OTHER, dashed=True),
        line(frame, [(each["alert_hours_per_patient_day"], each["utility"]) for each in curve]),
        dot(frame, *here, f"as set: utility {here[1]:.3f} at {here[0]:.1f} alert-hours", WARN),
        said(frame, here[0], here[1], "as set", WARN),
        said(frame, *_beside(clock), "clock alone", OTHER),
    )
    return (
        "<h2>What a ward would carry</h2><figure style='margin:0'>"
        + frame.drawing("Utility against hours with an alert per patient-day", *marks)
        + "<figcaption>Each point is a threshold. The official utility pays for alerts from 12 hours before onset, "
        "charges a little for every false one, and much for silence after onset; 1 is perfect, 0 is silence. The "
        "dashed line alerts by hours in intensive care alone. "
        f"As set: {every['new_alerts_per_patient_day']:.2f} new alerts per patient-day, "
        f"{_percent(every['alert_hours_that_pay'])} of alert-hours in the window that pays.</figcaption></figure>"
    )


def _calibration_and_lead(figures: Mapping[str, Any]) -> str:
    return f'<div class="pair">{_calibration(figures)}{_lead(figures)}</div>'


def _calibration(figures: Mapping[str, Any]) -> str:
    table, every = figures["reliability"], figures["all"]
    top = max(0.05, 1.05 * max(max(row["risk"], row["high"]) for row in table))
    ticks = _even_ticks(top)
    frame = Frame(Axis(0, top, ticks, "risk said", percent=True), Axis(0, top, ticks, "share seen", percent=True))
    marks = [line(frame, [(0, 0), (top, top)], SOFT, dashed=True)]
    for row in table:
        marks.append(whisker(frame, row["risk"], row["low"], row["high"]))
        marks.append(dot(frame, row["risk"], row["observed"], f"said {row['risk']:.1%}, seen {row['observed']:.1%}"))
    return (
        "<figure><h2>Is the risk true?</h2>"
        + frame.drawing("Risk said against share of hours seen", *marks)
        + "<figcaption>Hours in ten equal groups by the risk said; on the dashed line what is said is what came. "
        f"Bars: 95 % over stays. Mean error {every['calibration_error']:.2%}; Brier {every['brier']:.4f} (a constant: "
        f"{every['brier_of_constant']:.4f}).</figcaption></figure>"
    )


def _lead(figures: Mapping[str, Any]) -> str:
    counts, every = figures["lead_times_h"], figures["all"]
    most = max(1, *counts)
    frame = Frame(
        Axis(-4, 13, (-3, 0, 3, 6, 9, 12), "hours from first alert to onset"),
        Axis(0, most * 1.1, _even_ticks(most), "septic stays"),
    )
    bars = [
        bar(frame, at - 3, 0.8, count, f"{at - 3} h before onset: {count} stays", INK if at < 3 else "#1f5fa8")
        for at, count in enumerate(counts)
    ]
    first = every["lead_h_of_first_alert"]
    often = f"A stay's very first alert came a median {first[1]:.0f} h before onset. " if first else ""
    return (
        "<figure><h2>How early?</h2>"
        + frame.drawing("Lead time of the first alert in the window that pays", *bars)
        + "<figcaption>First alert from 12 hours before onset to 3 after; 12 means it stood already when the window "
        f"opened. {often}{_percent(every['septic_stays_alerted'])} of septic stays are in the plot: the others had no "
        "alert in these hours.</figcaption></figure>"
    )


def _subgroups(figures: Mapping[str, Any]) -> str:
    head = "".join(
        f"<th>{name}</th>"
        for name in (
            "group", "stays", "septic", "utility (95 %)", "AUROC", "alert-hours a day", "risk said", "seen",
            "septic alerted before onset",
        )
    )  # fmt: skip
    order = sorted(figures["subgroups"].items(), key=lambda item: _kind(item[0]))
    rows = "".join(_subgroup(name, each) for name, each in order)
    return (
        f"<h2>For whom?</h2><table><tr>{head}</tr>{rows}</table>"
        "<p class=note>Intervals by drawing stays again; a group of few septic stays has a wide one. One threshold for "
        "all. Race, language and pregnancy are not in the data: nobody knows how it fares by them.</p>"
    )


def _kind(group: str) -> tuple[int, str]:
    """Ages first, the youngest of all, then sex, then units."""
    kind = 3 if "unit" in group else 2 if group in ("women", "men") else 1
    return (0, group) if group.startswith("under") else (kind, group)


def _subgroup(name: str, each: Mapping[str, Any]) -> str:
    bounds = each["utility_interval"]
    within = f" ({bounds[0]:.2f} to {bounds[1]:.2f})" if bounds else ""
    cells = (
        escape(name),
        f"{each['stays']:,}",
        f"{each['septic_stays']:,}",
        _number(each["utility"]) + within,
        _number(each["auroc"]),
        f"{each['alert_hours_per_patient_day']:.1f}",
        f"{each['mean_risk']:.1%}",
        f"{each['observed']:.1%}",
        _percent(each["septic_stays_alerted_before_onset"]),
    )
    return "<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>"


def _seen(learnt: Mapping[str, Any]) -> str:
    measured = sorted(zip(VARIABLES, learnt["measured"], strict=True), key=lambda pair: -pair[1])
    cells = ", ".join(f"{variable.label} {share:.1%}" for variable, share in measured if share)
    never = ", ".join(variable.label for variable, share in measured if not share)
    low, mid, high = learnt["age"] or (float("nan"),) * 3
    short, usual, long = learnt["stay_h"]
    return (
        f"<h2>What it saw</h2><p>{learnt['stays']:,} stays, {learnt['hours']:,} hours; half of the stays lasted "
        f"{short:.0f} to {long:.0f} hours (median {usual:.0f}), half of the people were {low:.0f} to {high:.0f} years "
        f"old (median {mid:.0f}).{_left_out(learnt.get('early_onsets', 0))}</p>"
        f"<p class=note>Share of hours in which each was measured: {escape(cells)}."
        + (f" Never: {escape(never)}; the model knows nothing of it." if never else "")
        + f"</p><p class=note>{escape(str(learnt.get('licence', '')))}</p>"
    )


def _left_out(early_onsets: int) -> str:
    if not early_onsets:
        return ""
    return (
        f" {early_onsets:,} more stays are in no figure, since sepsis began before or within their first six hours: "
        "of such patients the model has seen none."
    )


def _reads(model: ModelFiles) -> str:
    shares = list(importance(model.text).items())[:15]
    rows = "".join(f"<tr><td><code>{escape(name)}</code></td><td>{share:.1%}</td></tr>" for name, share in shares)
    return (
        f"<h2>What it looks at most</h2><table><tr><th>feature</th><th>share of what splits gained</th></tr>{rows}"
        f"</table><p class=note>{len(shares)} of {len(model.metadata['features'])} features. <code>hour</code> is the "
        "time in intensive care: a part of what the model knows is how long somebody has been there.</p>"
    )


def _how(about: Mapping[str, Any], figures: Mapping[str, Any]) -> str:
    folds = "".join(
        f"<tr><td>{at}</td><td>{_number(fold['utility'])}</td><td>{_number(fold['auroc'])}</td>"
        f"<td>{_number(fold['auprc'])}</td><td>{fold['threshold']:.3f}</td></tr>"
        for at, fold in enumerate(figures["folds"], 1)
    )
    recipe = ", ".join(f"{name} {value}" for name, value in about["recipe"].items())
    digests = ", ".join(f"{name} {digest[:16]}" for name, digest in about["digests"].items())
    return (
        "<h2>How it was made</h2><table><tr><th>fold</th><th>utility</th><th>AUROC</th><th>AUPRC</th><th>threshold</th>"
        f"</tr>{folds}</table><p class=note>Folds by patient, dealt by seed {about['folds_seed']}. Threshold of the "
        f"model itself {about['threshold']:.4f}. Recipe: {escape(recipe)}; seed {about['seed']}. Learnt from "
        f"<code>{about['learning_set']['digest'][:16]}</code>, code <code>{about['code'][:16]}</code>, files "
        f"<code>{escape(digests)}</code>.</p>"
    )


def _even_ticks(most: float) -> list[float]:
    """Ticks from 0 to `most` at round numbers, four to eight of them."""
    size = 10.0 ** math.floor(math.log10(most))
    step = next(size * by for by in (0.2, 0.5, 1.0, 2.0) if most / (size * by) <= 8)
    return [round(at * step, 9) for at in range(int(most / step) + 1)]


def _number(value: float | None) -> str:
    return "n/a" if value is None else f"{value:.3f}"


def _percent(value: float | None) -> str:
    return "n/a" if value is None else f"{value:.0%}"
