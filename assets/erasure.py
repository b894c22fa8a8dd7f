"""Erasure as Dagster runs it: a partition a request, a page, a sensor that asks for runs, a check of what is left out.

Holds: when a request's turn comes, and what a run shows: states, counts and stores, never whom. Requests that can go on
at once go on in one run, whatever their number: each table is rewritten once for all of them.
Does not hold: erasure (`warehouse/erasure`) and its stores of the floor above (`infra/erasure`): a run calls the
command `wardstream erase`, so that who presses a button and who types do the same.
"""

# No `from __future__ import annotations`: Dagster reads the annotations of what it decorates.
import hashlib
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg

GROUP = "erasure"
OWNER = "team:data-protection"
KEY = dg.AssetKey(["erasure", "request"])
PAGE = dg.AssetKey(["erasure", "page"])
VAULT = dg.AssetKey(["erasure", "vault"])
REQUESTS = dg.DynamicPartitionsDefinition(name="erasure_requests")
INTERVAL_SECONDS = 60
RESTRICTED = "restricted"
LONGEST_SECONDS = 6 * 3600
DONE, REFUSED, UNAVAILABLE, WAITING = 0, 1, 2, 3
CERTIFIED = "certified"
ENDS = (CERTIFIED, "refused", "received")
"""States in which no run is asked for: the last waits for a person."""

Command = Callable[..., tuple[int, dict[str, Any]]]
"""Arguments of `wardstream erase` -> exit code and what it said as JSON."""


class Together(dg.Config):
    """Names of requests that a run leads beside that of its partition; each becomes materialized too."""

    beside: list[str] = []  # noqa: RUF012 a field of Dagster's, which copies it


class ErasureError(RuntimeError):
    """A run that could not go on. The message has the command's own words, which name nobody."""


def command(*arguments: str) -> tuple[int, dict[str, Any]]:
    """`wardstream erase` with these arguments and `--json`, in the environment of this process."""
    program = Path(sys.executable).with_name("wardstream")
    answer = subprocess.run(
        [str(program), "erase", *arguments, "--json"],
        capture_output=True,
        text=True,
        timeout=LONGEST_SECONDS,
        check=False,
    )
    if answer.returncode in (UNAVAILABLE, WAITING) or not answer.stdout.strip():
        lines = answer.stderr.strip().splitlines()
        raise ErasureError(lines[-1] if lines else f"the command ended with code {answer.returncode}")
    return answer.returncode, json.loads(answer.stdout.splitlines()[-1])


def erasure_asset(ask: Command = command) -> dg.AssetsDefinition:
    """One request a partition; each run leads it as far as it goes, from wherever an earlier one ended."""

    @dg.asset(
        key=KEY,
        group_name=GROUP,
        kinds={"iceberg"},
        owners=[OWNER],
        partitions_def=REQUESTS,
        description="A request for erasure, from verification to the certificate. To be run again after any failure.",
    )
    def request(context: dg.AssetExecutionContext, config: Together) -> dg.MaterializeResult:
        named = [context.partition_key, *config.beside]
        try:
            _, said = ask("run", *named)
        except ErasureError:
            # What stops one stops no other: those that came to their end are asked for by nobody any more.
            for each in ask("status")[1]["requests"]:
                if each["request"] in named and each["state"] == CERTIFIED:
                    context.log_event(dg.AssetMaterialization(KEY, partition=each["request"], metadata=_shown(each)))
            raise
        page = dg.MetadataValue.path(said["page"])
        found = {each["request"]: {**_shown(each), "page": page} for each in said["requests"]}
        for name in config.beside:
            context.log_event(dg.AssetMaterialization(KEY, partition=name, metadata=found[name]))
        return dg.MaterializeResult(metadata=found[context.partition_key])

    return request


def page_asset(ask: Command = command) -> dg.AssetsDefinition:
    """The privacy officer's page; each run that leads a request writes it too."""

    @dg.asset(
        key=PAGE,
        deps=[KEY],
        group_name=GROUP,
        kinds={"html"},
        owners=[OWNER],
        description="Requests and deadlines, certificates, holds, consents taken back, coverage; names nobody.",
    )
    def page() -> dg.MaterializeResult:
        _, said = ask("page")
        return dg.MaterializeResult(metadata={"page": dg.MetadataValue.path(said["page"])})

    return page


def vault_asset(ask: Command = command) -> dg.AssetsDefinition:
    """Once a day: no backup of the vault brings a destroyed key back for longer than backups are kept."""

    @dg.asset(
        key=VAULT,
        deps=[KEY],
        group_name=GROUP,
        kinds={"sqlite"},
        owners=[OWNER],
        description="Keys that stand, in an outer key that no destroyed one is in; older outer keys go in their time.",
    )
    def vault() -> dg.MaterializeResult:
        _, said = ask("rotate")
        return dg.MaterializeResult(
            metadata={
                "begun": dg.MetadataValue.bool(said["begun"]),
                "destroyed": dg.MetadataValue.int(said["destroyed"]),
                "next": dg.MetadataValue.text(said["next"] or ""),
            }
        )

    return vault


def coverage_check(ask: Command = command) -> dg.AssetChecksDefinition:
    """Fails where a table, topic or other place holds people and no store for erasure answers for it."""

    @dg.asset_check(
        asset=KEY, name="everything_is_covered", description="Whatever holds people has a store for erasure."
    )
    def covered() -> dg.AssetCheckResult:
        _, said = ask("coverage")
        missing = [each["place"] for each in said["uncovered"]]
        metadata = {"covered": len(said["covered"]), "uncovered": dg.MetadataValue.json(missing)}
        return dg.AssetCheckResult(passed=said["complete"], metadata=metadata)

    return covered


def erasure_sensor(ask: Command = command) -> dg.SensorDefinition:
    """Asks for a run of every request that can go on, of the page each hour and of the vault each day; takes up what
    came by `patient.data.deletions`. Ships running."""

    @dg.sensor(
        name="erasure",
        target=dg.AssetSelection.assets(KEY, PAGE, VAULT),
        minimum_interval_seconds=INTERVAL_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Leads verified requests for erasure to their certificate.",
    )
    def due(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        try:
            _, said = ask("status", "--intake")
        except ErasureError as error:
            return dg.SensorResult(skip_reason=str(error))
        open_ = [each for each in said["requests"] if each["state"] not in ENDS]
        known = set(context.instance.get_dynamic_partitions(REQUESTS.name or ""))
        fresh = [each["request"] for each in open_ if each["request"] not in known]
        return dg.SensorResult(
            run_requests=[*_runs_of(open_), _page_run(), _vault_run()],
            dynamic_partitions_requests=[REQUESTS.build_add_request(fresh)] if fresh else [],
        )

    return due


def _runs_of(open_: list[dict[str, Any]]) -> Iterator[dg.RunRequest]:
    """One run for all that can go on, and one for all that are kept back. The same are asked for once an hour: what
    keeps them back may be over by then."""
    for kept in (False, True):
        group = [each for each in open_ if (each["state"] == RESTRICTED) == kept]
        if not group:
            continue
        stands = json.dumps(sorted((each["request"], each["state"]) for each in group)).encode()
        first, *others = (each["request"] for each in group)
        yield dg.RunRequest(
            run_key=f"{hashlib.sha256(stands).hexdigest()[:16]}@{datetime.now(UTC):%Y%m%d%H}",
            partition_key=first,
            asset_selection=[KEY],
            run_config=dg.RunConfig(ops={KEY.to_python_identifier(): Together(beside=others)}),
        )


def _page_run() -> dg.RunRequest:
    """Once an hour, since requests grow older by themselves."""
    return dg.RunRequest(run_key=f"page@{datetime.now(UTC):%Y%m%d%H}", asset_selection=[PAGE])


def _vault_run() -> dg.RunRequest:
    return dg.RunRequest(run_key=f"vault@{datetime.now(UTC):%Y%m%d}", asset_selection=[VAULT])


def _shown(found: dict[str, Any]) -> dict[str, dg.MetadataValue]:
    return {
        "state": dg.MetadataValue.text(found["state"]),
        "scope": dg.MetadataValue.text(found["scope"]),
        "requested_at": dg.MetadataValue.text(found["requested_at"]),
        "due_in_days": dg.MetadataValue.int(found["due_in_days"]),
        "why": dg.MetadataValue.text(found["reason"] if found["state"] == RESTRICTED else ""),
    }
