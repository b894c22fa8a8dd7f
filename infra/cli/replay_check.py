"""`wardstream replay --check TABLE --days A..B`: days of a table made again, held against it, and swapped on command.

Holds: the reading of days, and what is printed: counts, columns by name, a few positions; never a value.
Does not hold: the making and comparing (`assets/replay.py`).

Exit codes: 0 equal (or swapped), 1 different or refused, 2 not checkable: positions are gone, a day is not released, or
a part does not answer; 130 Ctrl-C.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

from infra.cli.caller import caller
from infra.cli.reach import LAKE, LAKE_AND_BROKER, unreachable

if TYPE_CHECKING:
    from assets.replay import Replay, StreamReplay, Swap
    from warehouse.comparison import Difference, TableComparison
    from warehouse.settings import Settings

EQUAL, DIFFERENT, NOT_CHECKABLE, INTERRUPTED = 0, 1, 2, 130
MOST_DAYS = 366
WHY = "replay check: compared, nothing shown"


class DaysError(ValueError):
    """Days that cannot be read; says how they are written."""


def days_of(text: str) -> tuple[date, ...]:
    """`2026-11-20` or `2026-11-20..2026-11-21`, both ends included. Raises `DaysError`."""
    first, _, last = text.partition("..")
    try:
        start, end = date.fromisoformat(first.strip()), date.fromisoformat((last or first).strip())
    except ValueError:
        raise DaysError("days are written 2026-11-20 or 2026-11-20..2026-11-21 (UTC)") from None
    if not start <= end < start + timedelta(days=MOST_DAYS):
        raise DaysError(f"the first day comes first, and at most {MOST_DAYS} days are taken at a time")
    return tuple(start + timedelta(days=number) for number in range((end - start).days + 1))


def check(
    settings: Settings,
    table: str,
    days: tuple[date, ...],
    *,
    source: str = "auto",
    swap: bool = False,
    reason: str | None = None,
    dry_run: bool = False,
    as_json: bool = False,
) -> int:
    """Make the days again, compare them and print what differs; with `swap` put them in the table's place unless
    `dry_run`. `reason` goes on record with the opening of what is sealed. Returns the exit code."""
    from warehouse.contract import load_contracts

    contracts = load_contracts(own=settings.contracts)
    try:
        positioned = contracts.table(table).positioned
    except KeyError as error:
        return _tell(str(error.args[0]), NOT_CHECKABLE)
    if why_not := unreachable(settings, LAKE_AND_BROKER if positioned and source != "raw" else LAKE):
        return _tell(why_not, NOT_CHECKABLE)
    from assets.replay import Request

    request = Request(table, days, caller(), reason or WHY, source, swap, dry_run)
    return _outcome(settings, contracts, request, as_json)


def _outcome(settings: Settings, contracts: Any, request: Any, as_json: bool) -> int:
    from assets.replay import NotReplayableError, replay
    from pipelines.outages import NO_MESSAGES_FAULT, UNAVAILABLE, told
    from warehouse.audit import AuditError
    from warehouse.catalog import TableMismatchError
    from warehouse.opened_lake import LakeUnreachableError, opened_lake
    from warehouse.snapshots import FilesChangedError

    try:
        with opened_lake(settings):
            done = replay(settings, contracts, request)
    except (NotReplayableError, AuditError, FilesChangedError) as error:
        return _tell(str(error), DIFFERENT)
    except (*UNAVAILABLE, *NO_MESSAGES_FAULT, LakeUnreachableError, TableMismatchError) as error:
        return _tell(str(error), NOT_CHECKABLE)
    except KeyboardInterrupt:
        return INTERRUPTED
    except Exception as error:  # DuckDB's and pyiceberg's, whose text may hold values
        return _tell(f"it failed: {told(error)}", NOT_CHECKABLE)
    code = exit_code(done)
    print(json.dumps(as_dict(done)) if as_json else "\n".join(lines(done, request.dry_run)))
    return code


def exit_code(done: Replay) -> int:
    """What a replay comes to, as an exit code."""
    if done.swap is not None and done.swap.snapshot_id is not None:
        return EQUAL
    if not done.equal:
        return DIFFERENT
    return EQUAL if done.complete else NOT_CHECKABLE


# ------------------------------------------------------------------ what is printed


def as_dict(done: Replay) -> dict[str, Any]:
    """For `--json`."""
    return {
        "table": done.table,
        "days": [day.isoformat() for day in done.days],
        "equal": done.equal,
        "complete": done.complete,
        "streams": [_stream_as_dict(stream) for stream in done.streams],
        "derived": [_table_as_dict(table) for table in done.derived],
        "refused": list(done.refused),
        "swap": asdict(done.swap) if done.swap else None,
    }


def _stream_as_dict(stream: StreamReplay) -> dict[str, Any]:
    return {
        "stream": stream.stream,
        "messages": stream.messages,
        "gone": [asdict(gone) for gone in stream.gone],
        "closed": stream.closed,
        "tables": [_table_as_dict(table) for table in stream.tables],
    }


def _table_as_dict(table: TableComparison) -> dict[str, Any]:
    return {
        "table": table.table,
        "equal": table.equal,
        "kept": {str(day): rows for day, rows in table.kept.items()},
        "made_again": {str(day): rows for day, rows in table.rebuilt.items()},
        "past_horizon": table.past_horizon,
        "moved": table.moved,
        "sealed_for_ever": table.unopened,
        "differences": [
            {**asdict(each), "day": str(each.day) if each.day else None} for each in table.differences
        ],
    }  # fmt: skip


def lines(done: Replay, dry_run: bool = False) -> Iterator[str]:
    """For people."""
    span = f"{done.days[0]}" if len(done.days) == 1 else f"{done.days[0]} to {done.days[-1]}"
    messages = sum(stream.messages for stream in done.streams)
    yield f"{done.table}, {span}" + (f": {messages:,} messages worked again" if done.streams else ": derived again")
    for table in done.tables:
        yield from _table_lines(table)
    for stream in done.streams:
        yield from _gone_lines(stream)
    yield from (f"not checkable: {sentence}" for sentence in done.refused)
    yield from _swap_lines(done.swap, done.table, dry_run) if not done.equal else ()
    yield _verdict(done)


def _table_lines(table: TableComparison) -> Iterator[str]:
    for day in sorted({*table.kept, *table.rebuilt}, key=str):
        kept, made = table.kept.get(day, 0), table.rebuilt.get(day, 0)
        differing = [each for each in table.differences if each.day == day]
        count = f"{kept:,} rows" if kept == made else f"{kept:,} rows, {made:,} made again"
        yield f"  {table.table:<20} {day or 'no day'!s:<10}  {count}{'' if differing else ', equal'}"
        yield from (f"      {_difference(each)}" for each in differing)
    listed = {*table.kept, *table.rebuilt}
    yield from (
        f"  {table.table:<20} {each.day}: {_difference(each)}" for each in table.differences if each.day not in listed
    )
    for count, what in (
        (table.moved, "of the missing rows stand at another position"),
        (table.past_horizon, "positions are duplicates that compaction found past the horizon; no difference"),
        (table.unopened, "sealed values open no more, their keys were destroyed; not compared"),
    ):
        if count:
            yield f"      {count:,} {what}"


def _difference(each: Difference) -> str:
    rows = f"{each.rows:,} row{'s' * (each.rows != 1)}"
    words = {
        "missing": f"{rows} missing" + (f", kept in {each.instead} instead" if each.instead else ""),
        "extra": f"{rows} too many, " + (f"made for {each.instead} now" if each.instead else "made of no message"),
        "doubled": f"{rows} there more than once",
        "column": f"{each.column} differs in {rows}",
    }
    places = _places(each.examples)
    return words[each.kind] + (f": {places}" if places else "")


def _places(examples: Iterable[tuple[str, int, int]]) -> str:
    return ", ".join(f"partition {partition} offset {offset}" for _, partition, offset in examples)


def _gone_lines(stream: StreamReplay) -> Iterator[str]:
    for gone in stream.gone:
        yield (
            f"not checkable: {stream.stream} partition {gone.partition}, positions {gone.start} to {gone.end - 1}: "
            "neither Kafka nor the raw messages have them"
        )
    if stream.closed:
        yield f"not checkable: {stream.closed:,} kept messages of {stream.stream}: their keys were destroyed"


def _swap_lines(swap: Swap | None, table: str, dry_run: bool) -> Iterator[str]:
    if swap is None:
        return
    change = (
        f"{swap.files_before:,} files with {swap.rows_before:,} rows by {swap.files_after:,} with {swap.rows_after:,}"
    )
    if swap.refusals:
        yield from (f"not swapped: {why}" for why in swap.refusals)
    elif swap.snapshot_id is not None:
        yield f"swapped {change} in snapshot {swap.snapshot_id}"
        yield f"the gate judges these days again within the hour, or at once: Dagster, materialise quality/{table}"
    elif dry_run:
        yield f"would swap {change}"


def _verdict(done: Replay) -> str:
    if done.swap is not None and done.swap.snapshot_id is not None:
        return "swapped"
    if not done.equal:
        return "different"
    return "equal" if done.complete else "equal as far as it can be checked"


def _tell(line: str, code: int) -> int:
    print(f"wardstream replay: {line}", file=sys.stderr)
    return code
