"""`wardstream retention plan | apply | undo | receipts | hold | classes`: how long what is kept, and what comes of it.

Holds: what is asked, what is printed, and who is on record for it (`warehouse/audit.py`).
Does not hold: what is due, and the doing of it (`warehouse/retention/`), nor its schedule (`assets/retention.py`).

Exit codes: 0 done or nothing to do, 1 refused, or not all of it was done, 2 no such table, a wrong setting, or catalog,
store or vault do not answer, 130 Ctrl-C.
"""

from __future__ import annotations

import json
import os
import secrets
import socket
import sys
from datetime import UTC, datetime
from itertools import groupby
from typing import TYPE_CHECKING, Any

from infra.cli import answers
from infra.cli.caller import caller
from infra.cli.reach import unreachable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from datetime import date

    from warehouse.contract import Contracts, RetentionClass
    from warehouse.retention.cost import Cost, Prices
    from warehouse.retention.doer import Outcome
    from warehouse.retention.holds import Hold
    from warehouse.retention.plan import Action, Spared
    from warehouse.retention.receipts import Receipt
    from warehouse.retention.run import Retention, Survey
    from warehouse.settings import Settings

DONE, REFUSED, UNAVAILABLE, INTERRUPTED = 0, 1, 2, 130
_VERBS = {"cool": "move to the cold store", "warm": "move back from the cold store", "remove": "take out"}
_VERBS |= {"destroy_key": "destroy the keys of rejects of"}


def plan(settings: Settings, table: str | None, *, as_of: datetime | None = None, as_json: bool = False) -> int:
    """Print what is due at `as_of` (aware; now if None), what is spared and why, and what it costs."""

    def act(retention: Retention, names: Sequence[str]) -> int:
        survey = retention.survey(names, as_of)
        print(json.dumps(_survey(survey)) if as_json else "\n".join(_survey_lines(survey)))
        return DONE

    return _with_lake(settings, table, act)


def apply(settings: Settings, table: str | None, *, dry_run: bool = False, as_json: bool = False) -> int:
    """Do what is due now; with `dry_run` print the plan. Returns 1 where an action was refused."""
    if dry_run:
        return plan(settings, table, as_json=as_json)

    def act(retention: Retention, names: Sequence[str]) -> int:
        survey, outcome = retention.apply(names)
        if as_json:
            print(json.dumps(_survey(survey) | _outcome(outcome)))
        else:
            print("\n".join(_outcome_lines(outcome)))
        return REFUSED if outcome.refused else DONE

    return _with_lake(settings, table, act)


def undo(settings: Settings, receipt: str, why: str, *, as_json: bool = False) -> int:
    """Take an act back within its window, and hold its days. On record with who and why."""

    def act(retention: Retention, names: Sequence[str]) -> int:
        _on_record(settings, "retention.undo", why, receipt=receipt)
        done = retention.undo(receipt, caller(), why)
        if as_json:
            print(json.dumps({"receipts": [_receipt(each) for each in done], "hold": f"undo-{receipt}"}))
        else:
            print("\n".join(_receipt_lines(done)) if done else "it was taken back before; nothing is changed")
            print(f"hold undo-{receipt} keeps these days; `wardstream retention hold lift` lets them go again")
        return DONE

    return _with_lake(settings, None, act)


def receipts(settings: Settings, *, table: str | None = None, limit: int = 20, as_json: bool = False) -> int:
    """Print what was done, the newest last; as JSON all of it."""

    def act(retention: Retention, names: Sequence[str]) -> int:
        found = [each for each in retention.receipts() if each.table_name in names]
        if as_json:
            print(json.dumps({"receipts": [_receipt(each) for each in found]}))
        else:
            print("\n".join(_receipt_lines(found[-limit:])) if found else "no receipts")
        return DONE

    return _with_lake(settings, table, act)


def place_hold(
    settings: Settings,
    table: str,
    why: str,
    *,
    first: date | None = None,
    last: date | None = None,
    as_json: bool = False,
) -> int:
    """Keep days of a table (`*`: of all) as they are. Says what of them left already and can be taken back."""

    def act(retention: Retention, names: Sequence[str]) -> int:
        from warehouse.retention.holds import Hold

        hold = Hold(f"h-{secrets.token_hex(4)}", table, first, last, why, caller(), datetime.now(UTC))
        _on_record(settings, "retention.hold.place", why, hold=hold.hold)
        late = retention.place(hold)
        if as_json:
            print(json.dumps({"hold": _hold(hold), "left_before": [_receipt(each) for each in late]}))
            return DONE
        print(f"placed: {hold}")
        for name in sorted({each.receipt for each in late}):
            print(f"some of these days left before; `wardstream retention undo {name}` brings them back")
        return DONE

    return _with_lake(settings, None, act)


def lift_hold(settings: Settings, name: str, why: str, *, as_json: bool = False) -> int:
    """Let the days of a hold follow their class again, from the next run on."""

    def act(retention: Retention, names: Sequence[str]) -> int:
        _on_record(settings, "retention.hold.lift", why, hold=name)
        hold = retention.lift(name, why, caller())
        print(json.dumps({"hold": _hold(hold)}) if as_json else f"lifted: {hold}")
        return DONE

    return _with_lake(settings, None, act)


def list_holds(settings: Settings, *, as_json: bool = False) -> int:
    """Print the holds in force."""

    def act(retention: Retention, names: Sequence[str]) -> int:
        holds = retention.holds()
        if as_json:
            print(json.dumps({"holds": [_hold(each) for each in holds]}))
        else:
            print("\n".join(_hold_lines(holds)) if holds else "no hold is in force")
        return DONE

    return _with_lake(settings, None, act)


def classes(settings: Settings, *, as_json: bool = False) -> int:
    """Print the retention classes, their tables, and what their times rest on. Asks no server."""
    from warehouse.contract import ContractError, load_contracts

    try:
        contracts = load_contracts(own=settings.contracts)
    except ContractError as error:
        return _tell(str(error), REFUSED)
    shown = [_class(each, contracts) for each in contracts.retention_classes.values()]
    if as_json:
        print(json.dumps({"classes": shown}))
        return DONE
    names = ["class", "on Kafka", "cold after", "gone after", "counted by", "undo"]
    cells = [[*map(_days, (c["hot_days"], c["cold_after_days"], c["gone_after_days"]))] for c in shown]
    rows = [[c["name"], *three, c["counted_by"], f"{c['undo_days']} d"] for c, three in zip(shown, cells, strict=True)]
    print("\n".join(answers.aligned(names, rows, [False, True, True, True, False, True])))
    for each in shown:
        print(f"\n{each['name']}: {each['kept']}\n  tables: {', '.join(each['tables']) or 'none'}\n  {each['because']}")
    return DONE


def writer() -> str:
    """Who acts, for receipts: the program, the host, the process."""
    return f"retention@{socket.gethostname()}-{os.getpid()}"


def new_receipt() -> str:
    """A name for an act: when it began, and something to tell it from others of that second."""
    return f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{secrets.token_hex(3)}"


def _with_lake(settings: Settings, table: str | None, act: Callable[[Retention, Sequence[str]], int]) -> int:
    """`act` with the lake's retention and the asked table, or all; what fails is told."""
    from warehouse.audit import AuditError
    from warehouse.catalog import TableMismatchError
    from warehouse.commit import TableChangedError, VectorMissingError
    from warehouse.contract import ContractError, load_contracts
    from warehouse.opened_lake import LakeUnreachableError
    from warehouse.retention.cost import PriceError
    from warehouse.retention.doer import BusyError, UndoError
    from warehouse.retention.holds import HoldError
    from warehouse.retention.run import opened_retention
    from warehouse.retention.undo import RecordError
    from warehouse.vault import VaultError, VaultUnavailableError

    refusals = (AuditError, BusyError, ContractError, HoldError, RecordError, TableChangedError, TableMismatchError)
    try:
        contracts = load_contracts(own=settings.contracts)
        names = [each.name for each in contracts.tables()]
        if table is not None and table not in names:
            return _tell(f"no table {table}; tables are {', '.join(names)}", UNAVAILABLE)
        if reason := unreachable(settings):
            return _tell(reason, UNAVAILABLE)
        asked = names if table is None else [table]
        with opened_retention(
            settings, contracts, writer=writer(), clock=lambda: datetime.now(UTC), new_id=new_receipt
        ) as retention:
            return act(retention, asked)
    except (*refusals, UndoError, VaultError, VectorMissingError) as error:
        return _tell(str(error), REFUSED)
    except (LakeUnreachableError, PriceError, VaultUnavailableError) as error:
        return _tell(str(error), UNAVAILABLE)
    except KeyboardInterrupt:
        return INTERRUPTED


def _on_record(settings: Settings, what: str, why: str, **about: str) -> None:
    from warehouse.audit import FILE, record

    entry = {"who": caller(), "what": what, **about, "why": why}
    record(settings.home / FILE, datetime.now(UTC), entry)


def _tell(line: str, code: int) -> int:
    print(f"wardstream retention: {line}", file=sys.stderr)
    return code


def _survey_lines(survey: Survey) -> list[str]:
    lines = [f"due at {survey.plan.as_of:%Y-%m-%d %H:%M} UTC:"]
    for (table, kind), group in groupby(survey.plan.actions, lambda action: (action.table, action.kind)):
        lines += [f"  {table}: {_VERBS[kind]} {_extent(list(group))}"]
    lines += [] if survey.plan.actions else ["  nothing"]
    spared = sorted(survey.plan.spared, key=lambda each: (each.table, each.reason))
    lines += ["stays all the same:"] if spared else []
    for (table, why), group in groupby(spared, lambda each: (each.table, each.reason)):
        lines += [f"  {table}: {_extent(list(group))}: {why}"]
    return [*lines, *_cost_lines(survey.cost, survey.prices)]


def _extent(found: Sequence[Action | Spared]) -> str:
    """Days, rows and bytes of what was planned or spared."""
    days = sorted(each.day for each in found if each.day is not None)
    span = "all of it" if not days else str(days[0]) if len(days) == 1 else f"{len(days)} days, {days[0]} to {days[-1]}"
    rows, size = sum(each.rows for each in found), sum(each.bytes for each in found)
    return f"{span} ({rows:,} rows, {size:,} bytes)"


def _cost_lines(cost: Cost, prices: Prices) -> list[str]:
    def tier(at: Any) -> str:
        return f"{at.monthly:.4f} {prices.currency} a month (warm {at.warm_bytes:,}, cold {at.cold_bytes:,} bytes)"

    requests = ", ".join(f"{n:,} {name}" for name, n in cost.requests.items() if n) or "none"
    lines = [
        f"storage now {tier(cost.before)}",
        f"after it    {tier(cost.after)}, once undo windows and sweeps are over",
        f"doing it    {cost.once:.4f} {prices.currency} once, for at most these requests: {requests}",
    ]
    if prices.examples:
        lines.append(f"prices of {', '.join(sorted(prices.examples))} are EXAMPLES; WARDSTREAM_PRICES takes your own")
    return lines


def _outcome_lines(outcome: Outcome) -> list[str]:
    lines = _receipt_lines(outcome.receipts) if outcome.receipts else ["nothing was due"]
    return lines + [f"not done: {each.table} {each.day} {each.kind}: {each.reason}" for each in outcome.refused]


def _receipt_lines(found: Iterable[Receipt]) -> list[str]:
    names = ["receipt", "act", "table", "day", "rows", "bytes", "undo until"]
    cells = [
        [
            each.receipt,
            each.act,
            each.table_name,
            str(each.day),
            f"{each.rows:,}",
            f"{each.bytes:,}",
            f"{each.undo_until:%Y-%m-%d %H:%M}" if each.undo_until else "·",
        ]
        for each in found
    ]
    return answers.aligned(names, cells, [False, False, False, False, True, True, False])


def _hold_lines(holds: Iterable[Hold]) -> list[str]:
    names = ["hold", "table", "from", "to", "placed", "who", "why"]
    cells = [
        [
            each.hold,
            each.table,
            str(each.first_day or "·"),
            str(each.last_day or "·"),
            f"{each.placed_at:%Y-%m-%d %H:%M}",
            answers.printable(each.who),
            answers.printable(each.reason),
        ]
        for each in holds
    ]
    return answers.aligned(names, cells, [False] * len(names))


def _survey(survey: Survey) -> dict[str, Any]:
    cost, prices = survey.cost, survey.prices

    def tier(at: Any) -> dict[str, Any]:
        return {"warm_bytes": at.warm_bytes, "cold_bytes": at.cold_bytes, "monthly": at.monthly}

    return {
        "as_of": survey.plan.as_of.isoformat(),
        "actions": [_action(each) for each in survey.plan.actions],
        "spared": [_action(each) for each in survey.plan.spared],
        "cost": {
            "currency": prices.currency,
            "before": tier(cost.before),
            "after": tier(cost.after),
            "requests": dict(cost.requests),
            "once": cost.once,
            "example_prices": sorted(prices.examples),
        },
    }


def _action(each: Action | Spared) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "table": each.table,
        "day": each.day.isoformat() if each.day else None,
        "rows": each.rows,
        "bytes": each.bytes,
        "reason": each.reason,
    }
    kind = getattr(each, "kind", None)
    return shown if kind is None else {"kind": kind, "files": len(getattr(each, "files", ())), **shown}


def _outcome(outcome: Outcome) -> dict[str, Any]:
    refused = [
        {"table": each.table, "day": each.day.isoformat(), "kind": each.kind, "reason": each.reason}
        for each in outcome.refused
    ]
    return {"receipts": [_receipt(each) for each in outcome.receipts], "refused": refused}


def _receipt(each: Receipt) -> dict[str, Any]:
    from dataclasses import asdict

    return answers.json_value(asdict(each) | {"snapshot_id": str(each.snapshot_id) if each.snapshot_id else None})


def _hold(hold: Hold) -> dict[str, Any]:
    from dataclasses import asdict

    return answers.json_value(asdict(hold))


def _class(each: RetentionClass, contracts: Contracts) -> dict[str, Any]:
    from dataclasses import asdict

    return asdict(each) | {"tables": [t.name for t in contracts.tables() if t.retention_class == each.name]}


def _days(age: int | None) -> str:
    return "·" if age is None else f"{age} d"
