"""`wardstream sepsis train | score | card`: a model from stays, its scores, its page.

Holds: the three commands and what is printed.
Does not hold: the work (`pipelines/clinical/sepsis/`), nor models of a lake (`models.py`), nor the look for drift at
a lake (`drift.py`).

No lake, broker or store is needed. What is printed names no patient.

Exit codes: 0 done, 1 refused (a file that is none, a model that does not fit) or drifted, 130 Ctrl-C.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pipelines.clinical.sepsis.drift_profile import Profile
    from pipelines.clinical.sepsis.learning_set import LearningSet
    from pipelines.clinical.sepsis.model_files import ModelFiles

DONE, REFUSED, INTERRUPTED = 0, 1, 130
FILES_AT_ONCE = 500
"""Stays read and scored together: memory stays the same however many there are."""


def train(
    source: Path,
    folder: Path,
    *,
    folds_seed: int,
    threads: int,
    origin: Mapping[str, str] | None = None,
    dry_run: bool = False,
    as_json: bool = False,
) -> int:
    """Learn a model from a parquet file (or a folder of `.psv` files with labels), judge it, and write it to `folder`.

    `origin`: `source` and `licence`, what the page says of the data. Returns the exit code.
    """
    said = origin or {"source": source.name}
    return outcome("train", lambda: _train(source, folder, folds_seed, threads, said, dry_run, as_json))


def score(source: Path, folder: Path | None, out: Path, *, dry_run: bool = False, as_json: bool = False) -> int:
    """Write the challenge's prediction files for a folder of `.psv` stays, by the model of `folder` or the champion.

    Returns the exit code.
    """
    return outcome("score", lambda: _score(source, folder, out, dry_run, as_json))


def card(folder: Path | None, out: Path | None, *, as_json: bool = False) -> int:
    """Write the model's page anew (into its folder, or to `out`) and say where it is. Returns the exit code."""
    return outcome("card", lambda: _card(folder, out, as_json))


def outcome(command: str, act: Callable[[], None]) -> int:
    """The exit code of an act on files, what is wrong said."""
    from pipelines.clinical.sepsis.learning_set import LearningSetError
    from pipelines.clinical.sepsis.model_files import ModelFilesError
    from pipelines.clinical.sepsis.psv import StayFileError

    try:
        act()
    except (LearningSetError, ModelFilesError, StayFileError, NotDoneError, OSError) as error:
        tell(f"{command}: {error}")
        return REFUSED
    except KeyboardInterrupt:
        return INTERRUPTED
    return DONE


class NotDoneError(RuntimeError):
    """What was asked for cannot be done. Says what to do instead."""


def tell(line: str) -> None:
    """A line beside what was asked for."""
    print(f"wardstream sepsis {line}", file=sys.stderr)


def progress_since(began: float) -> Callable[[str], None]:
    """Says a line with the seconds since then."""
    return lambda line: print(f"{time.monotonic() - began:6.0f} s  {line}", file=sys.stderr, flush=True)


def _train(
    source: Path,
    folder: Path,
    folds_seed: int,
    threads: int,
    origin: Mapping[str, str],
    dry_run: bool,
    as_json: bool,
) -> None:
    from pipelines.clinical.sepsis import model_files
    from pipelines.clinical.sepsis.train import Recipe

    if not model_files.is_free(folder):
        raise NotDoneError(f"{folder} holds something that is no model; name another folder")
    given, recipe = _learning_set(source), Recipe()
    if dry_run:
        shown = {"stays": given.panel.stays, "hours": given.panel.rows, "digest": given.digest, "model": str(folder)}
        _print(shown, as_json)
        return
    from pipelines.clinical.sepsis.drift_profile import write_profile
    from pipelines.clinical.sepsis.learn import learn
    from pipelines.clinical.sepsis.learning_set import sample_of

    # Before the training: a profile that cannot be made must leave no model without one.
    profile = _profile(source, given)
    seen = {**origin, "sample": sample_of(given)}
    try:
        model, page = learn(given, recipe, folds_seed, threads, progress_since(time.monotonic()), seen)
    except ValueError as error:
        raise NotDoneError(f"{source}: {error}") from error
    model_files.write(folder, model, page)
    write_profile(folder, profile)
    _print(_summary(model) | {"model": str(folder), "folder_digest": model_files.folder_digest(folder)}, as_json)


def _profile(source: Path, given: LearningSet) -> Profile:
    """What its stays looked like, values as sent where the file has them: what drift is judged against."""
    import numpy as np

    from pipelines.clinical.sepsis.drift_profile import profile_of
    from pipelines.clinical.sepsis.drift_set import facts_of_parquet
    from pipelines.clinical.sepsis.stay_facts import facts_of

    nowhere = np.full(given.panel.stays, "")
    return profile_of(facts_of(given.panel, nowhere, nowhere) if source.is_dir() else facts_of_parquet(source))


def _learning_set(source: Path) -> LearningSet:
    from pipelines.clinical.sepsis.learning_set import read_parquet
    from pipelines.clinical.sepsis.psv import read_labelled

    return read_labelled(source) if source.is_dir() else read_parquet(source)


def _summary(model: ModelFiles) -> dict[str, Any]:
    figures = model.metadata["figures"]
    every, clock = figures["all"], figures["clock"]
    return {
        "version": model.version,
        "stays": every["stays"],
        "septic_stays": every["septic_stays"],
        "folds_seed": model.metadata["folds_seed"],
        "utility": every["utility"],
        "utility_interval": figures["utility_interval"],
        "clock_utility": clock["utility"],
        "auroc": every["auroc"],
        "auprc": every["auprc"],
        "calibration_error": every["calibration_error"],
        "alert_hours_per_patient_day": every["alert_hours_per_patient_day"],
        "new_alerts_per_patient_day": every["new_alerts_per_patient_day"],
        "septic_stays_alerted_before_onset": every["septic_stays_alerted_before_onset"],
        "median_lead_h_in_window": (every["lead_h_in_window"] or [None, None])[1],
        "threshold": model.threshold,
    }


def _score(source: Path, folder: Path | None, out: Path, dry_run: bool, as_json: bool) -> None:
    from pipelines.clinical.sepsis import psv
    from pipelines.clinical.sepsis.score import OnnxModel

    files = psv.stay_files(source)
    if out.resolve() == source.resolve():
        raise NotDoneError("--out is the folder of the stays: predictions have their names and would replace them")
    model = OnnxModel(_model(folder))
    if dry_run:
        _print({"stays": len(files), "model": model.version, "out": str(out)}, as_json)
        return
    hours = alerts = 0
    progress = progress_since(time.monotonic())
    with psv.whole_folder(out) as predictions:
        for first in range(0, len(files), FILES_AT_ONCE):
            stays = psv.read(files[first : first + FILES_AT_ONCE])
            scored = model.score_panel(stays.panel)
            psv.write(predictions, stays, scored.risk, scored.alert)
            hours, alerts = hours + stays.panel.rows, alerts + int(scored.alert.sum())
            if len(files) > FILES_AT_ONCE:
                progress(f"{first + len(stays.names):,} of {len(files):,} stays")
    shown = {"stays": len(files), "hours": hours, "alert_hours": alerts, "model": model.version, "out": str(out)}
    _print(shown, as_json)


def _model(folder: Path | None) -> ModelFiles:
    """The named model, or the champion, which is said."""
    from pipelines.clinical.sepsis import model_files

    if folder is not None:
        return model_files.read(folder)
    champion = model_files.champion()
    learnt = champion.metadata["learning_set"]
    tell(f"no --model: the built-in champion {champion.version}, learnt from {learnt['source']}")
    return champion


def _card(folder: Path | None, out: Path | None, as_json: bool) -> None:
    from pipelines.clinical.sepsis import card as cards
    from pipelines.clinical.sepsis import model_files

    model = _model(folder)
    place = out or (folder and folder / model_files.CARD)
    if place is None:
        raise NotDoneError("the champion's page is not written into the product: say --out FILE")
    place.write_text(cards.page(model))
    _print({"version": model.version, "card": str(place)}, as_json)


def _print(shown: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print(json.dumps(shown))
        return
    width = max(map(len, shown))
    for name, value in shown.items():
        print(f"{name:{width}}  {_text(value)}")


def _text(value: Any) -> str:
    if isinstance(value, list):
        return " to ".join(_text(part) for part in value)
    return f"{value:.4f}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else str(value)
