"""`wardstream sepsis drift`: what moved since a model was made, in files or in the lake, where, and what to mend.

Holds: the command and what is printed.
Does not hold: the tests (`pipelines/clinical/sepsis/drift*.py`), the look at a lake (`pipelines/drift_look.py`).

What is printed names no patient.

Exit codes: 0 nothing moved, 1 something did, or a file that is none, 2 the catalog or the store does not answer,
130 Ctrl-C.
"""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from infra.cli.caller import caller
from infra.cli.reach import unreachable
from infra.cli.sepsis import DONE, INTERRUPTED, REFUSED, NotDoneError, outcome, progress_since, tell

if TYPE_CHECKING:
    from datetime import date
    from pathlib import Path

    from pipelines.clinical.sepsis.drift import Report
    from pipelines.drift_look import Looked
    from warehouse.settings import Settings

UNAVAILABLE = 2


def of_files(file: Path, reference: Path, *, as_json: bool = False) -> int:
    """Say whether a file's stays are still those of the reference, what moved where, and what is to be done.

    Returns the exit code: 1 where something drifted, as where the files cannot be read.
    """
    return outcome("drift", lambda: _of_files(file, reference, as_json))


def of_lake(
    settings: Settings,
    *,
    day: date | None,
    days: int | None,
    as_of: datetime | None,
    dry_run: bool = False,
    as_json: bool = False,
) -> int:
    """Look at the stays of the `days` days up to `day` (UTC; yesterday where it is None) against the reigning model's
    reference, keep what was found and write its page, unless `dry_run` or `as_of`. Returns the exit code."""
    from warehouse.analytics import LakeUnavailable
    from warehouse.catalog import TableMismatchError
    from warehouse.models.artefacts import ArtefactError
    from warehouse.opened_lake import LakeUnreachableError

    if reason := unreachable(settings):
        tell(f"drift: {reason}")
        return UNAVAILABLE
    from pipelines.drift_look import NotOverError  # with it come the models' libraries

    now = datetime.now(UTC)
    try:
        looked, page = _looked(settings, day or (now - timedelta(days=1)).date(), days, as_of, dry_run, now)
    except (LakeUnavailable, LakeUnreachableError) as error:
        tell(f"drift: {error}")
        return UNAVAILABLE
    except (TableMismatchError, ArtefactError, NotOverError) as error:
        tell(f"drift: {error}")
        return REFUSED
    except KeyboardInterrupt:
        return INTERRUPTED
    _print_look(looked, page, as_json)
    return REFUSED if looked.report.drifted else DONE


def _looked(
    settings: Settings, day: date, days: int | None, as_of: datetime | None, dry_run: bool, now: datetime
) -> tuple[Looked, str]:

    from assets.quality_pages import write_page
    from pipelines.drift_look import WINDOW_DAYS, DriftWatch
    from pipelines.drift_page import drift_page, index_page, index_path, page_path
    from warehouse.contract import load_contracts
    from warehouse.opened_lake import opened_lake

    # What was known earlier is an answer to a question, not the day's look.
    keep = not dry_run and as_of is None
    with opened_lake(settings) as catalog:
        watch = DriftWatch(settings, load_contracts(own=settings.contracts), catalog, f"drift@{caller()}")
        looked = watch.look(day, now, days=days or WINDOW_DAYS, as_of=as_of, keep=keep)
        if not keep:
            return looked, ""
        write_page(page_path(settings.home, day), drift_page(looked))
        write_page(index_path(settings.home), index_page(watch.looks.reports()))
    return looked, str(page_path(settings.home, day))


def _print_look(looked: Looked, page: str, as_json: bool) -> None:
    report = looked.report
    if as_json:
        told = {"look": looked.look, "version": looked.version, "built_in": looked.built_in, "page": page,
                "first_day": str(looked.first_day), "last_day": str(looked.last_day), "begun": list(looked.begun),
                "outcomes": looked.outcomes.stays, "snapshots": dict(looked.snapshots)}  # fmt: skip
        print(json.dumps(told | _as_json(report)))
        return
    from pipelines.drift_look import no_cause

    print(f"{looked.first_day} to {looked.last_day} against model {looked.version}")
    _print(report, no_cause(looked))
    for scope in looked.begun:
        print(f"{scope}: these stays are its reference from now on")
    if page:
        print(f"page: {page}")


def _of_files(file: Path, reference: Path, as_json: bool) -> None:
    from pipelines.clinical.sepsis.drift import look
    from pipelines.clinical.sepsis.drift_profile import profile_of
    from pipelines.clinical.sepsis.drift_set import facts_of_parquet

    progress = progress_since(time.monotonic())
    progress(f"reading {reference}")
    profile = profile_of(facts_of_parquet(reference))
    progress(f"reading {file}")
    report = look(profile, facts_of_parquet(file))
    if as_json:
        print(json.dumps(_as_json(report)))
    else:
        _print(report, "no difference beyond chance" if report.tests else "too few stays to judge anything by")
    if report.drifted:
        many = len(report.causes)
        raise NotDoneError(f"{many} causes of drift" if many > 1 else "a cause of drift")


def _as_json(report: Report) -> dict[str, Any]:
    from dataclasses import asdict

    causes = [asdict(cause) | {"remedy": cause.remedy, "retrains": cause.retrains} for cause in report.causes]
    told = {"stays": report.stays, "tests": report.tests, "not_judged": report.not_judged, "causes": causes}
    return told | {"findings": [asdict(each) for each in report.findings]}


def _print(report: Report, nothing: str) -> None:
    print(f"{report.stays:,} stays, {report.tests:,} tests, {report.not_judged:,} not made for want of stays")
    for cause in report.causes:
        print(f"{cause.kind}: {', '.join(cause.items)} ({cause.where})\n  {cause.because}\n  {cause.remedy}")
    if not report.drifted:
        print(nothing)
