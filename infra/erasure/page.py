"""The privacy officer's page: HTML that loads nothing from anywhere and names nobody.

Holds: layout and words, and where the page lies.
Does not hold: any fact (overview.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from html import escape
from pathlib import Path
from typing import Any

from infra.erasure.overview import REFUSED_DAYS, CategoryLine, CertificateLine, Overview, RequestLine, moment
from warehouse.erasure.certificate import KEPT
from warehouse.settings import Settings
from warehouse.whole_file import write_whole

PAGE = "erasure/index.html"
_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:70rem;padding:0 1rem;color:#1b2733;background:#fff}
h1{font-size:1.4rem;margin-bottom:0} h2{font-size:1.15rem;margin-top:2.2rem} .note{color:#506070}
table{border-collapse:collapse;width:100%} th,td{text-align:left;padding:.3rem .6rem;border-bottom:1px solid #dde3e9;
vertical-align:top} th{font-weight:600;color:#506070} .n{text-align:right;white-space:nowrap} .t{white-space:nowrap}
code{font-size:.92em} td code,td.s{white-space:nowrap} .wide+.wide{margin-top:1rem}
.holds{color:#1d6b3a} .warns{color:#8a5a00}
.fails{color:#a31621;font-weight:600} .alarm{border-left:4px solid #a31621;background:#fdf3f3;padding:.6rem 1rem}
.big{display:flex;flex-wrap:wrap;gap:1.2rem 2rem;margin:1rem 0} .big div{min-width:8rem;max-width:13rem}
.big b{display:block;font-size:1.6rem;line-height:1.2} .wide{overflow-x:auto} svg{display:block}
details{margin:.3rem 0} summary{cursor:pointer;color:#1f5fa8} details table{font-size:.93em;margin:.3rem 0 .8rem}
"""
_INK, _SOFT, _DONE, _WARN, _FAIL = "#1f5fa8", "#e4e9ee", "#1d6b3a", "#c98a1b", "#a31621"
_COUNTED = {
    "of the person",
    "left",
    "key gone after",
    "objects gone",
    "taken back",
    "purges open",
    "purged",
    "messages",
}
_STEPS = ("deleted", "sealed", "expired", "purged", "shredded", "models")


def default_page(settings: Settings) -> Path:
    """Where the page lies after each run."""
    return settings.home / PAGE


def write(file: Path, found: Overview) -> Path:
    """Put the page on disk whole or not at all; into a folder as `index.html`. Returns the file."""
    file = file / "index.html" if file.is_dir() else file
    file.parent.mkdir(parents=True, exist_ok=True)
    write_whole(file, page(found))
    return file


def page(found: Overview) -> str:
    """The page, whole."""
    parts = (
        f'<h1>Erasure and consent</h1><p class="note">As of {_at(found.now)} UTC. Requests are to be answered within '
        f"{found.deadline_days} days. Nobody is named here: requests have ids, and reasons that people wrote are left "
        "out.</p>",
        _alarms(found),
        _numbers(found),
        _open(found),
        _kept_back(found),
        _certificates(found),
        _consents(found.categories),
        _refused(found),
        _coverage(found),
    )
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" '
        f'content="width=device-width"><title>Erasure and consent</title><style>{_STYLE}</style></head>'
        f"<body>{''.join(parts)}</body></html>\n"
    )


def _alarms(found: Overview) -> str:
    """What somebody has to do something about now."""
    lines = [f"Request {_name(each.request)} is past its deadline ({_at(each.due_at)} UTC)." for each in found.overdue]
    lines += [f"{_code(place.name)} holds people, and no store for erasure answers for it: nothing is erased until one "
              "does." for place in found.coverage.uncovered]  # fmt: skip
    wrong = [each for each in found.certificates if each.verdict and each.verdict.wrong]
    lines += [
        f"The certificate of {_name(each.request)} is not so: wardstream erase verify tells why." for each in wrong
    ]
    lines += [
        f"Of somebody who was erased {_count(each.messages, 'event')} of admission came and {_verb(each.messages)} "
        f"refused, the newest at {_at(each.newest_at)} UTC. They may be in treatment here, and no rule looks after "
        "them: once it is known who they are, wardstream erase readmit takes them up under a new pseudonym."
        for each in found.refused
        if each.tells_of_treatment
    ]
    return f'<div class="alarm"><ul>{"".join(f"<li>{line}</li>" for line in lines)}</ul></div>' if lines else ""


def _numbers(found: Overview) -> str:
    verified = sum(each.verdict is not None and each.verdict.so for each in found.certificates)
    to_come = [each.due_at - found.now for each in found.open if each.due_at >= found.now]
    nearest = _days(min(to_come)) if to_come else "-"
    covered, holding = len(found.coverage.covered), len(found.coverage.covered) + len(found.coverage.uncovered)
    cells = (
        (len(found.open), "open requests", ""),
        (len(found.overdue), "past the deadline", "fails" if found.overdue else ""),
        (nearest, "to the next deadline", ""),
        (sum(bool(each.kept_back_by) for each in found.open), "restricted", ""),
        (f"{verified} of {len(found.certificates)}", "certificates verified", ""),
        (f"{covered} of {holding}", "places with people that erasure reaches", "" if covered == holding else "fails"),
    )
    shown = (f'<div><b class="{state}">{big}</b>{small}</div>' for big, small, state in cells)
    return f'<div class="big">{"".join(shown)}</div>'


# --- open requests


def _open(found: Overview) -> str:
    if not found.open:
        return '<h2>Open requests</h2><p class="note">None.</p>'
    rows = (
        f"<tr><td>{_name(each.request)}</td><td class=s>{escape(each.scope)}</td>"
        f"<td class=t>{_at(each.requested_at)}</td>"
        f"<td class=s>{_age_bar(each, found)}</td><td>{_way(each)}</td><td>{escape(each.waits_for())}</td></tr>"
        for each in found.open
    )
    head = ("request", "scope", "asked, UTC", "time used", "state", "waits for")
    stores = (_stores(each.request, each.stores) for each in found.open if each.stores)
    return f"<h2>Open requests</h2>{_table(head, rows)}{''.join(stores)}"


def _age_bar(each: RequestLine, found: Overview) -> str:
    """How much of the time that the law gives has gone."""
    share = each.age(found.now) / (each.due_at - each.requested_at)
    colour = _FAIL if share > 1 else _WARN if share > 0.75 else _INK
    left = each.due_at - found.now
    words = f"{_days(left)} left" if left >= timedelta(0) else f"{_days(-left)} late"
    told = f"day {each.age(found.now).days} of {found.deadline_days}, {words}"
    return (
        f'<svg width="150" height="10" role="img" aria-label="{told}"><title>{told}</title>'
        f'<rect width="150" height="10" rx="2" fill="{_SOFT}"/>'
        f'<rect width="{max(2.0, 150 * min(1.0, share)):.0f}" height="10" rx="2" fill="{colour}"/></svg>'
        f'<span class="{"fails" if share > 1 else "note"}">{told}</span>'
    )


def _way(each: RequestLine) -> str:
    """The states it goes through, as squares: done ones filled."""
    squares = []
    for at, state in enumerate(each.way):
        when = each.reached.get(state)
        told = f"{state}, {_at(when)} UTC" if when else f"{state}: to come"
        squares.append(
            f'<rect x="{at * 13}" width="11" height="11" rx="2" fill="{_DONE if when else _SOFT}">'
            f"<title>{told}</title></rect>"
        )
    label = f"{sum(state in each.reached for state in each.way)} of {len(each.way)} states reached"
    return (
        f'<svg width="{len(each.way) * 13}" height="11" role="img" aria-label="{label}">{"".join(squares)}</svg>'
        f'<span class="note">{escape(each.state)}</span>'
    )


def _stores(request: str, stores: Sequence[Mapping[str, Any]], remains: Sequence[Mapping[str, Any]] = ()) -> str:
    """What each store had, what was done in it, what is left."""
    untils = {each["store"]: each["until"] for each in remains}
    shown = [each for each in stores if each["before"] or each["after"] or _acted_on(each)]
    if not shown:
        return f'<p class="note">{_name(request)}: nothing of the person was in any of {len(stores)} stores.</p>'
    rows = (
        f"<tr><td>{_code(each['store'])}</td><td class=n>{each['before']:,}</td><td>{_told(each)}</td>"
        f"<td class=n>{_left(each)}</td><td class=t>{_until(untils.get(each['store']))}</td></tr>"
        for each in shown
    )
    head = ("store", "of the person", "done", "left", "gone by, UTC")
    others = len(stores) - len(shown)
    rest = f'<p class="note">Of the person there was nothing in {_count(others, "other store")}.</p>' if others else ""
    return f"<details><summary>{_name(request)}, store by store</summary>{_table(head, rows)}{rest}</details>"


def _acted_on(each: Mapping[str, Any]) -> bool:
    return any(step["step"] == KEPT or (step["step"] in _STEPS and step["found"]) for step in each["steps"])


def _told(each: Mapping[str, Any]) -> str:
    steps = {step["step"]: step for step in each["steps"]}
    words = [step for step in _STEPS if step in steps]
    if KEPT in steps:
        words.append("kept: the person consents to another use of this table")
    return escape(", ".join(words))


def _left(each: Mapping[str, Any]) -> str:
    if each["after"] is None:
        return "not proven yet"
    return f"{each['after']:,}"


def _until(text: str | None) -> str:
    return _at(moment(text)) if text else ""


# --- what keeps back, certificates, consents


def _kept_back(found: Overview) -> str:
    restricted = [each for each in found.open if each.kept_back_by]
    rows = [f"<tr><td>{_name(each.request)}</td><td>{escape(each.kept_back_by)}</td></tr>" for each in restricted]
    parts = (
        [_table(("restricted request", "because"), rows)] if rows else ['<p class="note">No request is held back.</p>']
    )
    holds = (
        f"<tr><td>{_code(each.hold)}</td><td>{'every table' if each.table == '*' else _code(each.table)}</td>"
        f"<td class=t>{each.first_day or 'the beginning'} to {each.last_day or 'the end'}</td>"
        f"<td class=t>{_at(each.placed_at)}</td></tr>"
        for each in found.holds
    )
    parts.append(
        _table(("hold in force", "table", "days", "placed, UTC"), holds)
        if found.holds
        else '<p class="note">No hold is in force.</p>'
    )
    return f"<h2>Restricted, and holds</h2>{''.join(parts)}"


def _certificates(found: Overview) -> str:
    if not found.certificates:
        return '<h2>Certificates</h2><p class="note">None yet.</p>'
    lines = {each.request: each for each in found.requests}
    rows = (
        f"<tr><td>{_name(each.request)}<br><span class=note>sha256 {_code(each.digest[:12])}</span></td>"
        f"<td class=s>{escape(each.scope)}</td><td class=t>{_at(each.issued_at)}<br>"
        f"<span class={'fails' if lines[each.request].late else 'note'}>{_took(lines[each.request])}</span></td>"
        f"<td class=n>{'-' if each.key_seconds is None else f'{each.key_seconds:.1f} s'}</td>"
        f"<td class=n>{each.objects:,}</td><td>{_verdict(each)}</td><td>{_last_byte(each, found.now)}</td></tr>"
        for each in found.certificates
    )
    head = ("certificate", "scope", "issued, UTC", "key gone after", "objects gone", "verified against the raw stores",
            "last byte")  # fmt: skip
    stores = (_stores(each.request, lines[each.request].stores, each.remains) for each in found.certificates)
    return f"<h2>Certificates</h2>{_table(head, rows)}{''.join(stores)}"


def _took(each: RequestLine) -> str:
    words = f"after {_days(each.age(each.requested_at))}"
    return f"{words}: late" if each.late else words


def _verdict(each: CertificateLine) -> str:
    if each.verdict is None:
        return '<span class="warns">not yet</span>'
    said = each.verdict
    if said.wrong:
        word = f'<span class="fails">{said.wrong} not so</span>'
    elif said.untold:
        word = f'<span class="warns">{said.untold} cannot be told here</span>'
    else:
        word = '<span class="holds">so</span>'
    looked = f"{said.searched:,} files searched for the person" if said.searched else "not searched for the person"
    later = f", {said.waiting} to be told after the last byte" if said.waiting else ""
    return f"{word}: {said.checks} checks, {looked}{later}<br><span class=note>{_at(said.at)} UTC</span>"


def _last_byte(each: CertificateLine, now: datetime) -> str:
    if each.last_byte_at is None:
        return '<span class="holds">gone at once</span>'
    if each.last_byte_at <= now:
        return f'<span class="holds">gone by</span> {_at(each.last_byte_at)}'
    stores = ", ".join(sorted(left["store"] for left in each.remains))
    return (
        f'<span class="warns">{_at(each.last_byte_at)}</span><br>'
        f'<span class="note">in {_days(each.last_byte_at - now)}: {escape(stores)}</span>'
    )


def _consents(categories: Sequence[CategoryLine]) -> str:
    rows = (
        f"<tr><td>{escape(each.category)}</td><td class=n>{each.revokes:,}</td><td class=n>{each.under_way:,}</td>"
        f"<td class=n>{each.purged:,}</td><td>{_names(each.alone)}</td><td>{_names(each.shared)}</td></tr>"
        for each in categories
    )
    head = ("use", "taken back", "purges open", "purged", "tables of this use alone", "tables shared with other uses")
    return (
        "<h2>Consents taken back</h2>"
        + _table(head, rows)
        + '<p class="note">A person leaves a table of one use with that consent, and a table that several uses share '
        "by consent alone with the last of them. Tables that serve care, operations or payment too rest on law: "
        "there the use stops, and the rows stay. A consent that nobody could read stops the use and purges nothing.</p>"
    )


def _refused(found: Overview) -> str:
    heading = f"<h2>Messages of erased people, refused in {REFUSED_DAYS} days</h2>"
    if not found.refused:
        return f'{heading}<p class="note">Nothing came.</p>'
    rows = (
        f"<tr><td>{_code(each.stream)}</td><td class=n>{each.messages:,}</td>"
        f"<td class=t>{_at(each.newest_at)}</td></tr>"
        for each in found.refused
    )
    return f"{heading}{_table(('stream', 'messages', 'newest, UTC'), rows)}"


def _coverage(found: Overview) -> str:
    places = [*((p, False) for p in found.coverage.uncovered), *((p, True) for p in found.coverage.covered)]
    rows = (
        f"<tr><td>{_code(place.name)}</td><td>{escape(place.holds_people)}</td>"
        f"<td>{'<span class=holds>yes</span>' if covered else '<span class=fails>NO STORE</span>'}</td></tr>"
        for place, covered in places
    )
    names = ", ".join(_code(place.name) for place in found.coverage.without_people)
    return (
        f"<h2>What holds people</h2>{_table(('place', 'holds people by', 'erasure reaches it'), rows)}"
        f"<details><summary>{_count(len(found.coverage.without_people), 'other place')} with nobody in it</summary>"
        f'<p class="note">{names}</p></details>'
    )


# --- small things


def _table(head: Iterable[str], rows: Iterable[str]) -> str:
    cells = "".join(f"<th{' class=n' if each in _COUNTED else ''}>{escape(each)}</th>" for each in head)
    return f'<div class="wide"><table><tr>{cells}</tr>{"".join(rows)}</table></div>'


def _name(request: str) -> str:
    """A request's id; long ones, which other systems chose, by their beginning, whole on hovering."""
    short = request if len(request) <= 24 else f"{request[:20]}…"
    return f'<code title="{escape(request)}">{escape(short)}</code>'


def _code(text: str) -> str:
    return f"<code>{escape(text)}</code>"


def _names(tables: Iterable[str]) -> str:
    return ", ".join(map(_code, tables)) or '<span class="note">none</span>'


def _at(moment_: datetime) -> str:
    return f"{moment_:%Y-%m-%d %H:%M}"


def _verb(number: int) -> str:
    return "was" if number == 1 else "were"


def _days(length: timedelta) -> str:
    """A length of time, not below zero, in the unit that says most."""
    if length >= timedelta(days=2):
        return f"{length.days} days"
    if length >= timedelta(hours=2):
        return f"{length / timedelta(hours=1):.0f} hours"
    return _count(max(1, round(length / timedelta(minutes=1))), "minute")


def _count(number: int, thing: str) -> str:
    return f"{number:,} {thing}{'' if number == 1 else 's'}"
