"""The quality gate as an asset: one verdict a day, shown as a blocking check.

Holds: the asset and its check.
Does not hold: the gate itself. It is a row of `quality_results` (`warehouse/release.py`), which derived work reads; the
check only shows it, and spares a run the attempt to build on a red day.
"""

# No `from __future__ import annotations`: Dagster reads the annotations of what it decorates.
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg

from assets.failures import without_values
from assets.lineage import Job, Lineage
from assets.partitions import DAYS
from assets.quality_pages import page_path
from assets.schedules import GATE_WHEN
from assets.streams import gate_key, group, owners, table_key
from warehouse.contract import Contracts
from warehouse.settings import Settings

if TYPE_CHECKING:
    from expectations.validate import Verdict

CHECK = "day_is_fit"


def gate_asset(table: str, contracts: Contracts) -> dg.AssetsDefinition:
    """The gate of `table`: each run judges one day and fails if the day is not fit to build upon."""
    stream = contracts.stream(contracts.table(table).stream)
    job = Job(gate_key(table).to_user_string(), [table], ["quality_results"])

    @dg.asset(
        key=gate_key(table),
        deps=[table_key(table)],
        partitions_def=DAYS,
        check_specs=[_check_spec(table)],
        automation_condition=GATE_WHEN,
        group_name=group(stream),
        kinds={"greatexpectations"},
        owners=owners(stream),
        description=f"Verdict of {table}'s expectations on one day, kept as a row of quality_results.",
    )
    def gate(
        context: dg.AssetExecutionContext, settings: dg.ResourceParam[Settings]
    ) -> Iterator[dg.AssetCheckResult | dg.MaterializeResult]:
        from assets.gate import run_gate

        day = date.fromisoformat(context.partition_key)
        with Lineage(settings, contracts).of_run(job, f"{context.run.run_id} {day}"):
            verdict = without_values(run_gate, settings, table, day, now=datetime.now(UTC))
        page = page_path(settings.home, table, day)
        yield check_result(verdict, page)
        if not verdict.passed:
            # Not a materialisation: what depends on it would be due, and a backfill would go on to build the day.
            raise dg.Failure(_sentence(verdict), allow_retries=False)
        yield dg.MaterializeResult(metadata=_numbers(verdict, page))

    return gate


def check_result(verdict: "Verdict", page: Path) -> dg.AssetCheckResult:
    """A verdict as Dagster shows it: names and counts, no value of any row; `page` is where all of it stands."""
    return dg.AssetCheckResult(
        check_name=CHECK,
        passed=verdict.passed,
        description=_sentence(verdict),
        metadata={**_numbers(verdict, page), "failed": dg.MetadataValue.json(dict(verdict.failed))},
    )


def _check_spec(table: str) -> dg.AssetCheckSpec:
    return dg.AssetCheckSpec(
        CHECK,
        asset=gate_key(table),
        blocking=True,
        partitions_def=DAYS,
        description="Every expectation of the table's contract holds for the day.",
    )


def _numbers(verdict: "Verdict", page: Path) -> dict[str, dg.MetadataValue]:
    from expectations.pages import markdown

    return {
        "verdict": dg.MetadataValue.md(markdown(verdict)),
        "page": dg.MetadataValue.path(str(page)),
        "rows": dg.MetadataValue.int(verdict.rows),
        "expectations": dg.MetadataValue.int(verdict.expectations),
        "suite_version": dg.MetadataValue.text(verdict.suite_version),
        "warnings": dg.MetadataValue.json(dict(verdict.warnings)),
    }


def _sentence(verdict: "Verdict") -> str:
    if verdict.passed:
        return f"{verdict.expectations} expectations hold for {verdict.rows} rows"
    return f"red: {', '.join(verdict.failed)}"
