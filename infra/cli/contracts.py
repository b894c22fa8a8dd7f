"""`wardstream contracts plan | apply | lint | docs`.

Holds: what is printed and the exit codes: 0 in order or done, 1 refused or out of order, 2 a part does not answer.
Does not hold: any planning (infra/planning/).
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from infra.cli.reach import LAKE_AND_BROKER, unreachable

if TYPE_CHECKING:
    from infra.planning.contracts import ContractsPlan
    from warehouse.settings import Settings

DONE, REFUSED, UNREACHABLE = 0, 1, 2


def plan(settings: Settings, *, as_json: bool = False) -> int:
    """Show what `apply` would do. 1 if it would refuse something."""
    from infra.planning import contracts

    if reason := unreachable(settings, LAKE_AND_BROKER):
        return _tell(reason, UNREACHABLE)
    try:
        planned = contracts.plan(settings)
    except contracts.PlanningError as failure:
        return _failed(failure)
    _show(planned, as_json)
    return REFUSED if planned.refusals else DONE


def apply(settings: Settings, *, dry_run: bool = False, as_json: bool = False) -> int:
    """Make real what the contracts declare, a line a change; with `dry_run` the same as `plan`."""
    from infra.planning import contracts

    if dry_run:
        return plan(settings, as_json=as_json)
    if reason := unreachable(settings, LAKE_AND_BROKER):
        return _tell(reason, UNREACHABLE)
    try:
        receipt = contracts.apply(settings, progress=_silent if as_json else print)
    except contracts.PlanningError as failure:
        return _failed(failure)
    if as_json:
        print(json.dumps({"done": receipt.done}))
    elif not receipt.done:
        print("real is as declared")
    return DONE


def lint(*, own: Path | None = None, as_json: bool = False) -> int:
    """Check the contracts themselves, a site's own among them; 1 if there is anything to mend."""
    from infra.planning.lint import lint as findings_of

    findings = findings_of(own=own)
    if as_json:
        print(json.dumps([{"file": f.file, "field": f.field, "remedy": f.remedy} for f in findings]))
    else:
        print("\n".join(map(str, findings)) or "contracts are in order")
    return REFUSED if findings else DONE


def docs(*, own: Path | None = None, check: bool = False) -> int:
    """Write the data dictionary, a site's into its own folder; with `check` only say whether it is current."""
    from infra.planning.dictionary import PATH, dictionary
    from warehouse.contract import ContractError, load_contracts

    try:
        text = dictionary(load_contracts(own=own))
    except ContractError as failure:
        return _failed(failure)
    path = own / PATH.name if own else PATH
    current = path.exists() and path.read_text("utf-8") == text
    if check:
        print(f"{path.name} is {'current' if current else 'not current: run `wardstream contracts docs`'}")
        return DONE if current else REFUSED
    path.write_text(text, "utf-8")
    print(f"{'unchanged' if current else 'written'}: {path}")
    return DONE


def _show(planned: ContractsPlan, as_json: bool) -> None:
    print(json.dumps(planned.as_json()) if as_json else planned.as_text())


def _silent(line: str) -> None:
    """Programs read one JSON object at the end."""


def _failed(failure: Exception) -> int:
    from infra.planning.contracts import UnreachableError

    return _tell(str(failure), UNREACHABLE if isinstance(failure, UnreachableError) else REFUSED)


def _tell(line: str, code: int) -> int:
    print(f"wardstream contracts: {line}", file=sys.stderr)
    return code
