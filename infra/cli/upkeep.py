"""`wardstream upkeep status | plan | run | store`: how well kept the tables are, and keeping them.

Holds: the composition (what retention holds back is spared), and what is printed.
Does not hold: plan and doers (`warehouse/upkeep`), the store's own (`infra/services/store_upkeep.py`), or the schedule.

Exit codes: 0 healthy or done, 1 upkeep is due, refused or failed somewhere, 2 no such table, or catalog or store do not
answer, 130 Ctrl-C.
"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

from infra.cli import answers
from infra.cli.reach import unreachable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from warehouse.settings import Settings
    from warehouse.upkeep.health import Health
    from warehouse.upkeep.plan import UpkeepPlan
    from warehouse.upkeep.run import TableUpkeep, Upkeep

FINE, DUE, UNAVAILABLE, INTERRUPTED = 0, 1, 2, 130
SHOWN_OBJECTS = 20


def status(settings: Settings, *, as_json: bool = False) -> int:
    """Print each table's health and why it is so. Returns the exit code: 1 where upkeep is due."""

    def act(upkeep: Upkeep, names: list[str]) -> int:
        found = [upkeep.health(name) for name in names]
        if as_json:
            print(json.dumps({"tables": [_health(health) for health in found]}))
        else:
            cells = [[h.table, f"{h.figure:.2f}", h.reason] for h in sorted(found, key=lambda h: h.figure)]
            print("\n".join(answers.aligned(["table", "health", "why"], cells, [False, True, False])))
        return DUE if any(health.due or health.refused for health in found) else FINE

    return _with_lake(settings, (), act)


def plan(settings: Settings, table: str, *, as_json: bool = False) -> int:
    """Print what a run would do to a table, and which objects nobody names. Returns the exit code."""

    def act(upkeep: Upkeep, names: list[str]) -> int:
        planned, objects = upkeep.plan(names[0]), upkeep.look(names[0])
        if as_json:
            listed = [
                {"location": each.location, "size_bytes": each.size_bytes, "reason": each.reason} for each in objects
            ]
            print(json.dumps(_plan(planned) | {"unreferenced": listed}))
            return FINE
        print("\n".join(_plan_lines(planned)))
        print(f"named by no snapshot now: {len(objects)} objects, {sum(each.size_bytes for each in objects):,} bytes")
        for each in objects[:SHOWN_OBJECTS]:
            print(f"  {each.reason}: {answers.printable(each.location)}")
        if len(objects) > SHOWN_OBJECTS:
            print(f"  … {len(objects) - SHOWN_OBJECTS} more; --json lists all")
        return FINE

    return _with_lake(settings, (table,), act)


def run(settings: Settings, tables: Sequence[str], *, dry_run: bool = False, as_json: bool = False) -> int:
    """Keep these tables, or all; with `dry_run` print the plans. Returns the exit code: 1 where one was refused or
    failed; the others are kept all the same."""

    def act(upkeep: Upkeep, names: list[str]) -> int:
        shown, code = [], FINE
        for name in names:
            line, failed = _planned(upkeep, name, as_json) if dry_run else _kept(upkeep, name, as_json)
            shown.append(line)
            code = max(code, failed)
        if as_json:
            print(json.dumps({"tables": shown}))
        return code

    return _with_lake(settings, tables, act)


def store(settings: Settings, *, days_of_logs: int = 1, dry_run: bool = False, as_json: bool = False) -> int:
    """Vacuum the embedded store and purge its logs. Returns the exit code."""
    from infra.services.store import EmbeddedStore, StoreVersionError
    from infra.services.store_upkeep import StoreUpkeepError, commands, keep_up

    if not settings.embedded_s3:
        return _tell("the object store is a site's own (WARDSTREAM_S3_ENDPOINT); its upkeep is not ours", UNAVAILABLE)
    if reason := unreachable(settings):
        return _tell(reason, UNAVAILABLE)
    if dry_run:
        print(json.dumps({"commands": commands(days_of_logs)}) if as_json else "\n".join(commands(days_of_logs)))
        return FINE
    try:
        done = keep_up(EmbeddedStore.of(settings), days_of_logs)
    except (StoreUpkeepError, StoreVersionError) as error:
        return _tell(str(error), DUE)
    except KeyboardInterrupt:
        return INTERRUPTED
    if as_json:
        print(json.dumps({"bytes_before": done.bytes_before, "bytes_after": done.bytes_after}))
    else:
        print(f"{done.bytes_before:,} bytes on disk before, {done.bytes_after:,} after: {done.freed_bytes:,} freed")
    return FINE


def _kept(upkeep: Upkeep, name: str, as_json: bool) -> tuple[dict[str, Any], int]:
    from warehouse.commit import StoreUnavailableError, TableChangedError, VectorMissingError
    from warehouse.retention.undo import RecordError
    from warehouse.upkeep.sweep import SharedLocationError

    try:
        done = upkeep.run(name)
    except (SharedLocationError, StoreUnavailableError, TableChangedError, VectorMissingError, RecordError) as error:
        _tell(f"{name}: {error}", DUE)
        return {"table": name, "failed": str(error)}, DUE
    if not as_json:
        print(_done_line(done))
    return _done(done), DUE if done.plan.refused else FINE


def _planned(upkeep: Upkeep, name: str, as_json: bool) -> tuple[dict[str, Any], int]:
    planned = upkeep.plan(name)
    if not as_json:
        print("\n".join(_plan_lines(planned)))
    return _plan(planned), DUE if planned.refused else FINE


def _with_lake(settings: Settings, tables: Sequence[str], act: Callable[[Upkeep, list[str]], int]) -> int:
    """`act` with the upkeep of the lake and the asked tables, all there are if none is; what fails is told."""
    from warehouse.contract import load_contracts
    from warehouse.opened_lake import LakeUnreachableError, opened_lake
    from warehouse.retention.undo import held_paths
    from warehouse.upkeep.run import Upkeep, policy_of

    contracts = load_contracts(own=settings.contracts)
    known = [table.name for table in contracts.tables()]
    if unknown := sorted(set(tables) - set(known)):
        return _tell(f"no table {', '.join(unknown)}; tables are {', '.join(known)}", UNAVAILABLE)
    if reason := unreachable(settings):
        return _tell(reason, UNAVAILABLE)
    try:
        with opened_lake(settings) as catalog:
            there = {identifier[-1] for identifier in catalog.list_tables((settings.namespace,))}
            if absent := [name for name in tables if name not in there]:
                return _tell(f"{', '.join(absent)}: not made yet; `wardstream contracts apply` makes it", UNAVAILABLE)
            upkeep = Upkeep(settings, catalog, contracts, held_paths, policy_of(settings))
            return act(upkeep, [name for name in tables or known if name in there])
    except LakeUnreachableError as error:
        return _tell(str(error), UNAVAILABLE)
    except KeyboardInterrupt:
        return INTERRUPTED


def _tell(line: str, code: int) -> int:
    print(f"wardstream upkeep: {line}", file=sys.stderr)
    return code


def _health(health: Health) -> dict[str, Any]:
    return {
        "table": health.table,
        "health": health.figure,
        "due": health.due,
        "reason": health.reason,
        "measures": {measure.name: measure.figure for measure in health.measures},
    }


def _plan_lines(planned: UpkeepPlan) -> list[str]:
    from warehouse.upkeep.plan import day_of

    if planned.refused:
        return [f"{planned.table}: refused: {planned.refused}"]
    lines = [f"compact {day_of(g.day)}: {g.reason}, {g.rows:,} rows" for g in planned.groups]
    lines += [f"expire {len(planned.expired)} snapshots"] if planned.expired else []
    lines += [f"rewrite manifests: {planned.manifests}"] if planned.manifests else []
    lines += [f"{_SWEEPS[planned.sweep]}: {planned.sweep_reason}"] if planned.sweep else []
    return [f"{planned.table}: nothing to do"] if not lines else [f"{planned.table}:", *(f"  {each}" for each in lines)]


_SWEEPS = {
    "resume": "finish a sweep",
    "delete": "delete unreferenced objects",
    "wait": "unreferenced objects wait",
    "mark": "look for unreferenced objects",
}


def _plan(planned: UpkeepPlan) -> dict[str, Any]:
    from warehouse.upkeep.plan import day_of

    groups = [
        {"day": day_of(g.day), "files": [file.location for file in g.files], "rows": g.rows, "reason": g.reason}
        for g in planned.groups
    ]
    return {
        "table": planned.table,
        "refused": planned.refused,
        "compact": groups,
        "expire": [str(id_) for id_ in planned.expired],
        "manifests": planned.manifests,
        "sweep": planned.sweep,
        "sweep_reason": planned.sweep_reason,
    }


def _done(done: TableUpkeep) -> dict[str, Any]:
    return {
        "table": done.before.name,
        "refused": done.plan.refused,
        "reason": done.health.reason,
        "rows": [done.before.rows, done.after.rows],
        "files": [len(done.before.files), len(done.after.files)],
        "bytes": [done.before.size_bytes, done.after.size_bytes],
        "manifests": [len(done.before.manifests), len(done.after.manifests)],
        "snapshots": [done.before.snapshots, done.after.snapshots],
        "duplicates_recorded": done.recorded,
        "duplicates_removed": sum(each.duplicates for each in done.compacted),
        "changed_under": done.changed_under,
        "marked": done.marked,
        "deleted": done.swept.objects if done.swept else 0,
        "deleted_bytes": done.swept.size_bytes if done.swept else 0,
    }


def _done_line(done: TableUpkeep) -> str:
    if done.plan.refused:
        return f"{done.before.name}: refused: {done.plan.refused}"
    shown = _done(done)
    parts = [
        f"{name} {a:,} → {b:,}" for name in ("files", "snapshots", "manifests") for a, b in [shown[name]] if a != b
    ]
    parts += [f"{shown['deleted']} objects deleted ({shown['deleted_bytes']:,} bytes)"] if shown["deleted"] else []
    parts += [f"{shown['duplicates_removed']} duplicates removed"] if shown["duplicates_removed"] else []
    parts += [f"{done.marked} objects marked"] if done.marked else []
    parts += [f"{done.changed_under} groups changed meanwhile"] if done.changed_under else []
    return f"{done.before.name}: {', '.join(parts) or 'nothing to do'}"
