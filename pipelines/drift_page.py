"""A look for drift as a page: HTML with inline plots that loads nothing from anywhere.

Holds: the page, the list of looks, and where both lie under the home.
Does not hold: verdicts (`pipelines/clinical/sepsis/drift*.py`), drawing (`plots.py`), any value of a patient: plots
show twentieths of the stays.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.clinical.sepsis.drift import MISSING, SHIFT, Cause, Finding
from pipelines.clinical.sepsis.drift_monitors import ERRORS
from pipelines.clinical.sepsis.drift_profile import ALL, ITEMS, Doubles, ItemProfile, values_of
from pipelines.clinical.sepsis.plots import MAIN, OTHER, SOFT, Axis, Frame, line
from pipelines.clinical.sepsis.variables import NAMES, VARIABLES
from pipelines.drift_look import Looked, Watched, no_cause

FOLDER = "models/drift"
MOST_PLOTS, LEAST_PLOTTED, POINTS, BLOCKS = 9, 30, 21, 40
_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:70rem;padding:0 1rem;color:#1b2733;background:#fff}
h1{font-size:1.4rem} h2{font-size:1.15rem;margin-top:2.2rem} table{border-collapse:collapse;width:100%}
th,td{text-align:left;padding:.3rem .6rem;border-bottom:1px solid #dde3e9;vertical-align:top}
th{font-weight:600;color:#506070} code{font-size:.92em} .n{text-align:right} .note{color:#506070}
.holds{color:#1d6b3a} .fails{color:#a31621;font-weight:600} .warns{color:#8a5a00}
.plots{display:flex;flex-wrap:wrap;gap:1rem} .plots>figure{flex:1 1 20rem;max-width:24rem;margin:0}
figcaption{color:#506070;font-size:.93em} svg{width:100%;height:auto} svg text{font:11px system-ui,sans-serif}
"""
_KINDS = {
    "none": "nothing", "unit_change": "a unit changed", "frozen_sensor": "a sensor stands still",
    "missing_feed": "a feed stopped or began", "new_population": "other patients",
    "unexplained_shift": "one thing moved", "device_shift": "a device's values moved", "score_change": "scores moved",
    "performance": "the model is less good",
}  # fmt: skip


def page_path(home: Path, day: object) -> Path:
    """Where the page of the look at a day lies."""
    return home / FOLDER / f"{day}.html"


def index_path(home: Path) -> Path:
    return home / FOLDER / "index.html"


def drift_page(looked: Looked) -> str:
    """A look, whole."""
    parts = (_head(looked), _causes(looked), _plots(looked), _missing(looked), _places(looked), _outcomes(looked),
             _monitors(looked.monitors), _how(looked))  # fmt: skip
    return html(f"Drift {looked.last_day}", "".join(parts))


def index_page(reports: Sequence[Mapping[str, Any]]) -> str:
    """Every look, the newest first. `reports`: rows of `drift_reports`."""
    looks: dict[str, list[Mapping[str, Any]]] = {}
    for row in reports:
        looks.setdefault(row["look"], []).append(row)
    newest = sorted(looks.values(), key=lambda rows: rows[0]["made_at"], reverse=True)
    lines = "".join(_index_line(rows) for rows in newest)
    head = (
        "<tr><th>day</th><th>model</th><th class=n>stays</th><th>found</th><th>retrain?</th><th>looked, UTC</th></tr>"
    )
    return html("Drift", f"<h1>Drift: every look</h1><table>{head}{lines}</table>")


def _index_line(rows: Sequence[Mapping[str, Any]]) -> str:
    first = rows[0]
    found = "; ".join(_KINDS.get(row["kind"], row["kind"]) for row in rows)
    state = "holds" if first["kind"] == "none" else "fails"
    day = f"{first['day']:%Y-%m-%d}" if first["day"] else ""
    link = f'<a href="{day}.html">{day}</a>' if day else "a file"
    return (
        f"<tr><td>{link}</td><td><code>{escape(first['version'])}</code></td><td class=n>{first['stays']:,}</td>"
        f"<td class={state}>{escape(found)}</td><td>{'yes' if any(row['retrains'] for row in rows) else 'no'}</td>"
        f"<td>{first['made_at']:%Y-%m-%d %H:%M:%S}</td></tr>"
    )


def _head(looked: Looked) -> str:
    report = looked.report
    if report.causes:
        said = f'<span class="fails">{len(report.causes)} cause{"s" if len(report.causes) > 1 else ""} of drift</span>'
    else:
        said = f'<span class="{"holds" if report.tests else "warns"}">{no_cause(looked)}</span>'
    model = "the built-in model" if looked.built_in else "model"
    stays = "no stay" if not report.stays else f"{report.stays:,} stays"
    return (
        f"<h1>Drift on {looked.last_day}: {said}</h1><p>{stays} that began from {looked.first_day} to "
        f"{looked.last_day} (UTC), held against the stays that {model} <code>{escape(looked.version)}</code> was made "
        f"with: {report.tests:,} tests, {report.not_judged:,} not made for want of stays. "
        '<a href="index.html">All looks</a></p>'
    )


def _causes(looked: Looked) -> str:
    if not looked.report.causes:
        return ""
    lines = "".join(_cause(each) for each in looked.report.causes)
    head = "<tr><th>what</th><th>where</th><th>found</th><th>what to do</th><th>retrain?</th></tr>"
    return f"<h2>What to do</h2><table>{head}{lines}</table>"


def _cause(each: Cause) -> str:
    items = ", ".join(map(_label, each.items[:6]))
    return (
        f"<tr><td><b>{_KINDS[each.kind]}</b><br>{escape(items)}</td><td>{escape(each.where)}</td>"
        f"<td>{escape(each.because)}</td><td>{escape(each.remedy)}</td><td>{'yes' if each.retrains else 'no'}</td></tr>"
    )


def _plots(looked: Looked) -> str:
    """What was found to have moved first; else what the model was made with most, so that there is something to see."""
    if looked.reference is None or looked.facts is None or not len(looked.facts):
        return ""
    found = {each.item: each for each in looked.report.findings if each.scope == ALL}
    shown = []
    for item in (*found, *(name for name in ITEMS if name not in found)):
        reference, live = looked.reference.get(ALL, item), values_of(looked.facts, item)
        if len(shown) < MOST_PLOTS and reference and len(live) >= LEAST_PLOTTED and reference.stays >= LEAST_PLOTTED:
            shown.append(_plot(item, reference, live, found.get(item)))
    if not shown:
        return ""
    return (
        "<h2>Then and now</h2><p class=note>Share of stays whose median lies at or below a value: grey when the model "
        f'was made, blue in these days. What moved comes first.</p><div class="plots">{"".join(shown)}</div>'
    )


def _plot(item: str, reference: ItemProfile, live: Doubles, found: Finding | None) -> str:
    shares = np.linspace(0, 1, POINTS)
    then = reference.quantiles[np.round(shares * (len(reference.quantiles) - 1)).astype(int)]
    now = np.sort(live)[np.round(shares * (len(live) - 1)).astype(int)]
    inner = np.concatenate([then[1:-1], now[1:-1]])
    low, high = float(inner.min()), float(inner.max())
    high = high if high > low else low + 1.0
    x = Axis(low, high, [float(f"{each:.3g}") for each in np.linspace(low, high, 5)], _label(item))
    frame = Frame(x, Axis(0, 1, (0, 0.5, 1), "share of stays", percent=True), width=360, height=230)
    marks = (
        line(frame, list(zip(then[1:-1].tolist(), shares[1:-1].tolist(), strict=True)), "#8a97a5"),
        line(frame, list(zip(now[1:-1].tolist(), shares[1:-1].tolist(), strict=True)), MAIN),
    )
    said = f"KS {found.effect:.2f}, PSI {found.psi:.2f}, p {found.p:.1g}" if found and found.kind == SHIFT else ""
    said = said or (f"{found.kind}, p {found.p:.1g}" if found else "no difference beyond chance")
    return (
        f"<figure>{frame.drawing(f'{_label(item)}, then and now', *marks)}<figcaption>{escape(_label(item))}: "
        f"{len(live):,} stays now, {reference.stays:,} then; {said}</figcaption></figure>"
    )


def _missing(looked: Looked) -> str:
    found = [each for each in looked.report.findings if each.kind == MISSING]
    if not found:
        return ""
    lines = "".join(
        f"<tr><td>{escape(_label(each.item))}</td><td>{escape(_scope(each.scope))}</td>"
        f"<td class=n>{each.effect:+.1%}</td><td class=n>{each.p:.1g}</td></tr>"
        for each in found
    )
    head = "<tr><th>item</th><th>where</th><th class=n>share of hours, change</th><th class=n>p</th></tr>"
    return f"<h2>Measured more or less often</h2><table>{head}{lines}</table>"


def _places(looked: Looked) -> str:
    """Wards, how many stays each had and whether it could be judged by itself."""
    if looked.facts is None or not len(looked.facts) or looked.reference is None:
        return ""
    known = {scope for scope, _ in looked.reference.items}
    lines = "".join(_place(looked, name, known) for name in np.unique(looked.facts.ward).tolist())
    devices = len(np.unique(looked.facts.device[looked.facts.device != ""]))
    head = "<tr><th>ward</th><th class=n>stays</th><th>judged</th></tr>"
    return (
        f"<h2>Where</h2><table>{head}{lines}</table><p class=note>{devices} monitors were looked at one by one for "
        "values that stand still.</p>"
    )


def _place(looked: Looked, name: str, known: set[str]) -> str:
    assert looked.facts is not None, "there are wards"
    stays, scope = int((looked.facts.ward == name).sum()), f"ward:{name}"
    if scope in looked.begun:
        judged = "its reference from now on"
    elif scope in known:
        judged = "by itself" if stays >= LEAST_PLOTTED else "too few stays"
    else:
        judged = "units and sensors only: the reference does not know it"
    return f"<tr><td>{escape(name or 'unknown')}</td><td class=n>{stays:,}</td><td>{judged}</td></tr>"


def _outcomes(looked: Looked) -> str:
    of = looked.outcomes
    if not of.judged:
        return (
            f"<h2>Is it still as good?</h2><p>{of.stays} stays with an outcome, {of.septic_stays} with sepsis: too few "
            "to say. Outcomes come by <code>alert.feedback</code>.</p>"
        )
    then = "unknown" if of.auroc_then is None else f"{of.auroc_then:.3f}"
    return (
        f"<h2>Is it still as good?</h2><p>On {of.stays:,} stays with an outcome ({of.septic_stays:,} with sepsis) "
        f"AUROC {of.auroc or 0:.3f}, {then} when it was judged; mean risk said {of.said or 0:.2%}, seen "
        f"{of.seen or 0:.2%}.</p>"
    )


def _monitors(watched: Sequence[Watched]) -> str:
    return "<h2>Along the stream</h2><div class=plots>" + "".join(map(_monitor, watched)) + "</div>"


def _monitor(each: Watched) -> str:
    values = np.array(each.stretch.values)
    what = "squared error of a stay's risks" if each.monitor == ERRORS else "mean risk of a stay's first day"
    told = f"{len(each.changes)} changes found" if each.changes else "no change found"
    text = f"{what.capitalize()}: {each.stretch.stays:,} stays so far, {len(values):,} since the last change; {told}."
    if len(values) < 2:
        return f"<figure><figcaption>{text}</figcaption></figure>"
    parts = np.array_split(values, min(BLOCKS, len(values)))
    means = [float(part.mean()) for part in parts]
    top = max(0.01, 1.1 * max(means))
    ends = np.cumsum([len(part) for part in parts]).tolist()
    ticks = [float(f"{at:.2g}") for at in np.linspace(0, top, 5)]
    frame = Frame(
        Axis(0, ends[-1], [round(at) for at in np.linspace(0, ends[-1], 5)], "stays"),
        Axis(0, top, ticks, "mean"),
        width=360,
        height=230,
    )
    whole = line(frame, [(0, each.stretch.mean), (ends[-1], each.stretch.mean)], SOFT, dashed=True)
    drawn = frame.drawing(what, whole, line(frame, list(zip(ends, means, strict=True)), OTHER))
    return f"<figure>{drawn}<figcaption>{text}</figcaption></figure>"


def _how(looked: Looked) -> str:
    read = ", ".join(f"{name} {number}" for name, number in sorted(looked.snapshots.items()))
    return (
        f"<p class=note>Read: {escape(read) or 'nothing'}. {looked.withheld} patients do not allow it. A stay counts "
        "once; all tests of a look together call a false alarm in one of a thousand looks. Read by ward and monitor "
        "where stays suffice.</p>"
    )


def _label(item: str) -> str:
    return VARIABLES[NAMES.index(item)].label if item in NAMES else item.replace("_", " ")


def _scope(scope: str) -> str:
    return "all stays" if scope == ALL else scope.replace(":", " ")


def html(title: str, body: str) -> str:
    """A page of models: head, look, body."""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" '
        f'content="width=device-width"><title>{escape(title)}</title><style>{_STYLE}</style></head>'
        f"<body>{body}</body></html>\n"
    )
