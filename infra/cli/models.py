"""`wardstream models list | show | register | promote | recalibrate | shadow | compare | rollback`: which models there
are, and which scores.

Holds: the commands and what is printed.
Does not hold: the register (`warehouse/models/`), the gate (`pipelines/clinical/sepsis/gate.py`).

A promotion asks the gate on stays that neither model learned from (`--on`). That is asked of the sealed lists of people
that models of the lake have, by pseudonyms and by patient numbers, and of the digest and the sample of stays that other
models keep, as the built-in one does; what cannot be asked is said with the reason. A refusal is recorded as a decision
too.
It holds from half a minute ahead, and no stream is started again for it. So is a recalibration, on the outcomes that
came by `alert.feedback`.

Exit codes: 0 done, 1 refused, 2 the catalog, the store or the vault does not answer, 130 Ctrl-C.
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from infra.cli import answers
from infra.cli.caller import caller
from infra.cli.reach import unreachable

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pipelines.clinical.sepsis.gate import Decision
    from pipelines.clinical.sepsis.learning_set import LearningSet
    from pipelines.clinical.sepsis.model_files import ModelFiles
    from pipelines.shadow_comparison import Comparison
    from warehouse.models.registry import Model, Registry, Role
    from warehouse.settings import Settings

DONE, REFUSED, UNAVAILABLE, INTERRUPTED = 0, 1, 2, 130
SEPSIS = "sepsis"
BUILT_IN = "built-in"
SEED = 0


class ModelsError(RuntimeError):
    """What was asked for cannot be done. Says what to do."""


def list_models(settings: Settings, *, as_json: bool = False) -> int:
    """Every registered model with its role of now. Returns the exit code."""
    return _outcome(settings, lambda registry: _list(registry, as_json))


def show(settings: Settings, version: str, *, as_json: bool = False) -> int:
    """All that is known of a model, and what was decided of it. Returns the exit code."""
    return _outcome(settings, lambda registry: _show(registry, version, as_json))


def register(settings: Settings, folder: Path, *, as_json: bool = False) -> int:
    """Put a model's folder into the lake. It gets no role by that. Returns the exit code."""
    return _outcome(settings, lambda registry: _register(registry, folder, as_json))


def promote(
    settings: Settings,
    version: str,
    reason: str,
    *,
    on: Path | None,
    override: bool = False,
    dry_run: bool = False,
    as_json: bool = False,
) -> int:
    """Make a model the champion if the gate lets it, judged on the stays of `on`. Returns the exit code."""
    asked = version, reason, on, override, dry_run, as_json
    return _outcome(settings, lambda registry: _promote(settings, registry, *asked))


def recalibrate(settings: Settings, reason: str, *, dry_run: bool = False, as_json: bool = False) -> int:
    """Fit the champion's risks to the outcomes of the lake and let the gate judge them. Returns the exit code."""
    return _on_lake(settings, lambda catalog: _recalibrate(settings, catalog, reason, dry_run, as_json))


def give_role(settings: Settings, version: str, role: str, reason: str, *, as_json: bool = False) -> int:
    """Let a model score in silence (`shadow`) or wait (`challenger`). Returns the exit code."""
    return _outcome(settings, lambda registry: _give(registry, version, role, reason, as_json))


def compare(settings: Settings, version: str | None, *, as_json: bool = False) -> int:
    """What the shadow (of now, or that version) said beside what was told; writes its page. Returns the exit code."""
    return _outcome(settings, lambda registry: _compare(settings, registry, version, as_json))


def rollback(
    settings: Settings, reason: str, *, version: str | None = None, dry_run: bool = False, as_json: bool = False
) -> int:
    """Make the champion before the present one champion again, or before the one that was promoted and is to come.
    `version`: only if that is the one to be left. Returns the exit code."""
    return _outcome(settings, lambda registry: _rollback(registry, version, reason, dry_run, as_json))


def _outcome(settings: Settings, act: Callable[[Registry], None]) -> int:
    from warehouse.contract import load_contracts
    from warehouse.models.registry import Registry

    def asked(catalog: Any) -> None:
        act(Registry(settings, load_contracts(own=settings.contracts), catalog, f"models@{caller()}"))

    return _on_lake(settings, asked)


def _on_lake(settings: Settings, act: Callable[[Any], None]) -> int:
    from pipelines.clinical.sepsis.learning_set import LearningSetError
    from pipelines.clinical.sepsis.model_files import ModelFilesError
    from warehouse.analytics import LakeUnavailable
    from warehouse.catalog import TableMismatchError
    from warehouse.commit import OutcomeUnknownError, TableChangedError
    from warehouse.erasure.models import ErasedMeanwhileError
    from warehouse.identity import SealError
    from warehouse.models.artefacts import ArtefactError
    from warehouse.models.kept_snapshots import OvertakenError, SnapshotGoneError
    from warehouse.models.registry import RegistryError
    from warehouse.opened_lake import LakeUnreachableError, opened_lake
    from warehouse.vault import VaultError, VaultUnavailableError

    if reason := unreachable(settings):
        return _tell(reason, UNAVAILABLE)
    try:
        with opened_lake(settings) as catalog:
            act(catalog)
    except (ModelsError, RegistryError, ArtefactError, ModelFilesError, LearningSetError, TableMismatchError) as error:
        return _tell(str(error), REFUSED)
    except (ErasedMeanwhileError, SnapshotGoneError, OvertakenError) as error:
        return _tell(str(error), REFUSED)
    except (OutcomeUnknownError, TableChangedError, VaultError) as error:
        return _tell(str(error), REFUSED)
    except SealError as error:
        return _tell(f"the list of whom a model learned from does not open with this home's vault: {error}", REFUSED)
    except (LakeUnreachableError, LakeUnavailable, VaultUnavailableError) as error:
        return _tell(str(error), UNAVAILABLE)
    except KeyboardInterrupt:
        return INTERRUPTED
    return DONE


def _tell(line: str, code: int = DONE) -> int:
    print(f"wardstream models: {line}", file=sys.stderr)
    return code


def _list(registry: Registry, as_json: bool) -> None:
    now = datetime.now(UTC)
    models, roles = registry.models(), registry.roles()
    champion, last = registry.champion(SEPSIS, now), {role.version: role for role in roles}
    shown = [_line(model, champion, last.get(model.version), now) for model in models.values()]
    if as_json:
        print(json.dumps(answers.json_value({"models": shown, "champion": champion and champion.version})))
        return
    if not champion:
        _tell("no registered model is the champion: the built-in one scores")
    if shown:
        cells = [[_cell(value) for value in row.values()] for row in shown]
        print("\n".join(answers.aligned(list(shown[0]), cells, [False] * len(shown[0]))))


def _cell(value: Any) -> str:
    if value is None:
        return "·"
    if isinstance(value, datetime):
        return f"{value:%F %T}"
    return f"{value:.4f}" if isinstance(value, float) else str(value)


def _line(model: Model, champion: Role | None, last: Role | None, now: datetime) -> dict[str, Any]:
    role = "champion" if champion and champion.version == model.version else ""
    if not role and last:
        role = "former champion" if last.role == "champion" and last.in_force_at <= now else last.role
    utility = (model.metrics.get("all") or {}).get("utility")
    return {
        "version": model.version,
        "role": role,
        "since": last.in_force_at if last else None,
        "utility": utility,
        "stays": model.learnt_stays,
        "source": model.source,
        "registered_at": model.registered_at,
    }


def _show(registry: Registry, version: str, as_json: bool) -> None:
    model = registry.model(version)
    decisions = [asdict(role) for role in registry.roles() if role.version == model.version]
    shown = asdict(model) | {"decisions": decisions}
    if as_json:
        print(json.dumps(answers.json_value(shown)))
        return
    for name, value in shown.items():
        if name != "decisions":
            text = value if isinstance(value, str) else json.dumps(answers.json_value(value))
            print(f"{name:14}  {text}")
    for each in decisions:
        print(f"{each['decided_at']:%F %H:%M}  {each['role']:10}  from {each['in_force_at']:%F %T}  {each['reason']}")


def _register(registry: Registry, folder: Path, as_json: bool) -> None:
    from pipelines.clinical.sepsis import model_files
    from pipelines.model_source import files_in, row_of

    model, files = model_files.read(folder), files_in(folder)
    row = row_of(model, files, snapshots={}, learnt_from="", at=datetime.now(UTC), who=caller())
    new = registry.register(row, files)
    profile = _keep_profile(registry, folder, model.version, row.registered_at)
    _print({"version": model.version, "new": new, "stays": row.learnt_stays, "source": row.source} | profile, as_json)


def _keep_profile(registry: Registry, folder: Path, version: str, now: datetime) -> dict[str, bool]:
    """What its stays looked like, where `sepsis train` wrote it: without it no drift is told."""
    from pipelines.clinical.sepsis.drift_profile import read_profile
    from pipelines.drift_look import profile_rows

    profile = read_profile(folder)
    if profile is not None:
        registry.looks.keep_profile(version, profile_rows(profile, version, now))
    return {"drift_profile": profile is not None}


def _promote(
    settings: Settings,
    registry: Registry,
    version: str,
    reason: str,
    on: Path | None,
    override: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    from warehouse.models.registry import AGAINST, CHAMPION, REFUSED

    _require_reason(reason)
    model, champion = registry.model(version), registry.heir(SEPSIS)
    if champion == model.version:
        raise ModelsError(f"{model.version} is the champion already")
    if on is None and not override:
        raise ModelsError("name stays that neither model learned from: --on FILE; or --override, which is kept")
    decision = _judged(settings, registry, model, champion, on) if on else None
    passed = decision.promote if decision else False
    evidence: dict[str, Any] = {"gate": decision.as_json() if decision else None, "overridden": override and not passed}
    if passed:  # who overrides the gate compares with nobody
        evidence[AGAINST] = champion
    said = f"{reason.strip()} · {decision.reason if decision else 'the gate was not asked'}"
    role = CHAMPION if passed or override else REFUSED
    if not dry_run:
        _decide(registry, model.version, role, said, evidence)
    _report(model.version, role, said, decision, as_json, dry_run)
    if role == REFUSED:
        raise ModelsError(f"not promoted; {decision.reason if decision else ''}")


def _judged(settings: Settings, registry: Registry, model: Model, champion: str, on: Path) -> Decision:
    """The gate's word on the stays of a file. `champion`: its version, empty for the built-in one."""
    from pipelines.clinical.sepsis import gate
    from pipelines.clinical.sepsis.evaluate import subgroups
    from pipelines.clinical.sepsis.learning_set import read_parquet
    from pipelines.clinical.sepsis.model_files import champion as built_in
    from pipelines.clinical.sepsis.promotion import outcome_of
    from pipelines.model_source import model_of

    _tell(f"judging on the stays of {on}")
    stays = read_parquet(on)
    both: list[ModelFiles] = [
        model_of(registry.load(champion)) if champion else built_in(),
        model_of(registry.load(model.version)),
    ]
    for each in both:
        _require_unseen(each, stays)
    unchecked = _require_strangers(settings, registry, {each.version for each in both}, stays)
    old, new = (outcome_of(each, stays.panel, stays.labels) for each in both)
    decision = gate.decide(old, new, subgroups(stays.panel), SEED)
    return replace(decision, reason=f"{decision.reason}; {unchecked}") if unchecked else decision


def _require_unseen(model: ModelFiles, stays: LearningSet) -> None:
    """Raises `ModelsError` where stays are in the sample that the model's file keeps of what it learned from."""
    from pipelines.clinical.sepsis.learning_set import known_again

    learnt = model.metadata["learning_set"]
    if learnt.get("digest") == stays.digest:
        raise ModelsError(f"{model.version} learned from these very stays; name others")
    looked_at, known = known_again(learnt.get("sample", ()), stays)
    if known:
        raise ModelsError(
            f"{model.version} learned from stays of this file: from {known} of {looked_at} that were looked at; "
            "name others"
        )


def _require_strangers(settings: Settings, registry: Registry, versions: set[str], stays: LearningSet) -> str:
    """Raises `ModelsError` where the file has patients, by number or pseudonym, that a model of the lake learned from.
    What could not be asked, in words: whom ids of another kind name."""
    from warehouse.contract import load_contracts
    from warehouse.erasure.ledger import Ledger
    from warehouse.models.people import models_that_knew, named_by
    from warehouse.vault import LEARNERS_KEY, open_vault

    asked = sorted(each.version for each in registry.models().values() if each.learnt_from and each.version in versions)
    if not asked:
        return ""
    topics = [topic for topic in load_contracts(own=settings.contracts).topics() if topic.key_system]
    vault = open_vault(settings.vault_uri, time.monotonic)
    try:
        named = named_by(stays.patients.tolist(), topics, vault.token_key(), Ledger(vault, time.monotonic))
        knew = models_that_knew(registry, vault.house_key(LEARNERS_KEY), set().union(*named.values(), named))
    finally:
        vault.close()
    for version in asked:
        people = knew.get(version, set())
        if known := sum(not people.isdisjoint({each, *tokens}) for each, tokens in named.items()):
            raise ModelsError(
                f"{version} learned from {known} of the {len(named)} patients of this file; name a file without them"
            )
    unknown = sum(not tokens for tokens in named.values())
    return _not_asked(asked, unknown, len(named)) if unknown else ""


def _not_asked(versions: list[str], unknown: int, patients: int) -> str:
    return (
        f"whether {' or '.join(versions)} learned from {unknown} of the {patients} patients could not be checked, "
        "their ids being neither patient numbers nor pseudonyms of this lake"
    )


def _recalibrate(settings: Settings, catalog: Any, reason: str, dry_run: bool, as_json: bool) -> None:
    from pipelines.clinical.sepsis.promotion import TooFewOutcomesError
    from pipelines.retraining import Retraining
    from warehouse.contract import load_contracts
    from warehouse.models.registry import CHAMPION, REFUSED

    _require_reason(reason)
    work = Retraining(settings, load_contracts(own=settings.contracts), catalog, f"models@{caller()}")
    try:
        done = work.recalibrate(reason.strip(), datetime.now(UTC), dry_run=dry_run)
    except TooFewOutcomesError as error:
        raise ModelsError(str(error)) from None
    crowned = done.decision.promote
    _tell(f"judged by {done.stays} stays with an outcome, {done.septic_stays} of them septic")
    said = f"{reason.strip()} · {done.decision.reason}"
    _report(done.model.version, CHAMPION if crowned else REFUSED, said, done.decision, as_json, dry_run)
    if not crowned:
        raise ModelsError(f"not promoted; {done.decision.reason}")


def _give(registry: Registry, version: str, role: str, reason: str, as_json: bool) -> None:
    model, now = registry.model(version), datetime.now(UTC)
    if (champion := registry.champion(SEPSIS, now)) and champion.version == model.version:
        raise ModelsError(f"{model.version} is the champion; `wardstream models rollback` puts another in its place")
    _decide(registry, model.version, role, reason, {})
    _report(model.version, role, reason, None, as_json)


def _compare(settings: Settings, registry: Registry, version: str | None, as_json: bool) -> None:
    from assets.quality_pages import write_page
    from pipelines.shadow_comparison import compare, comparison_page, page_path
    from warehouse.analytics import Analytics
    from warehouse.models.registry import SHADOW, in_force

    if version is None:
        role = in_force(registry.roles(), SEPSIS, SHADOW, datetime.now(UTC))
        if role is None:
            raise ModelsError("no model is the shadow; `wardstream models shadow VERSION --reason …` makes one")
        version = role.version
    with Analytics(settings) as analytics:
        found = compare(analytics, registry.model(version).version)
    page = page_path(settings.home, found.version)
    try:
        write_page(page, comparison_page(found))
    except OSError as error:  # else it would be taken for the store's
        raise ModelsError(f"{page} cannot be written ({type(error).__name__})") from None
    if as_json:
        print(json.dumps(answers.json_value(found.as_json() | {"page": str(page)})))
        return
    _print_comparison(found)
    print(f"page: {page}")


def _print_comparison(found: Comparison) -> None:
    per_day = max(found.patient_days, 1e-9)
    again = "nobody can say" if found.told_again is None else f"{found.told_again:.2%} of told scores, to the bit"
    shown = {
        "shadow": found.version,
        "hours": f"{found.hours:,} of {found.patients:,} patients, scored by both",
        "champion": f"{found.champion_alert_hours:,} alert-hours, "
        f"{found.champion_alert_hours / per_day:.2f} a patient-day",
        "its": f"{found.shadow_alert_hours:,} alert-hours, {found.shadow_alert_hours / per_day:.2f} a patient-day",
        "both": f"{found.both:,} alert-hours of both",
        "told again": again,
        "outcomes": f"{found.outcomes} stays" + (f"; {found.decision.reason}" if found.decision else ""),
        "left out": f"{found.early_onsets} stays, septic before both had scored them for six hours",
    }  # fmt: skip
    _print(shown, as_json=False)


def _rollback(registry: Registry, version: str | None, reason: str, dry_run: bool, as_json: bool) -> None:
    from warehouse.models.registry import LEFT, line_of, reigns

    _require_reason(reason)
    roles, now = registry.roles(), datetime.now(UTC)
    line, stack = line_of(roles, SEPSIS), reigns(roles, SEPSIS)
    if line and LEFT in line[-1][0].evidence and line[-1][0].in_force_at > now:
        raise ModelsError(
            f"it was decided to go back to {line[-1][1] or BUILT_IN}, from {line[-1][0].in_force_at:%T} UTC"
        )
    if not stack:
        raise ModelsError("the built-in model scores: there is nothing to go back from")
    champion = stack[-1].version
    if version is not None and registry.model(version).version != champion:
        raise ModelsError(f"{version} is not the champion, {champion} is: nothing was changed")
    before = stack[-2].version if len(stack) > 1 else None
    said = f"back from {champion}: {reason.strip()}"
    if not dry_run:
        _decide(registry, before or champion, "champion" if before else "retired", said, {LEFT: champion})
    _report(before or BUILT_IN, "champion", said, None, as_json, dry_run)


def _require_reason(reason: str) -> None:
    """Raises `ModelsError`. Asked of what a person said: the register counts what this adds to it as well."""
    from warehouse.models.registry import LEAST_REASON

    if len(reason.strip()) < LEAST_REASON:
        raise ModelsError(f"a decision needs a reason of {LEAST_REASON} letters or more; it names no patient")


def _decide(registry: Registry, version: str, role: str, reason: str, evidence: dict[str, Any]) -> None:
    """Dated now, whatever was judged before and however long that took."""
    registry.give(SEPSIS, version, role, reason, evidence, caller(), datetime.now(UTC))


def _report(
    version: str, role: str, reason: str, decision: Decision | None, as_json: bool, dry_run: bool = False
) -> None:
    from warehouse.models.registry import LEAD, RELOAD

    shown: dict[str, Any] = {"version": version, "role": role, "reason": reason, "dry_run": dry_run}
    shown["holds_in_seconds"] = int((LEAD + RELOAD).total_seconds())
    if decision and as_json:
        shown["gate"] = decision.as_json()
    _print(shown, as_json)


def _print(shown: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print(json.dumps(answers.json_value(shown)))
        return
    for name, value in shown.items():
        print(f"{name:17}  {value}")
