"""`python -m infra.bench.sepsis_stays FILE`: real stays through the whole product, scores held against offline ones.

Holds: the run on a broker and a store of its own, the recomputation from the file, the comparison by digest.
Does not hold: the model, the data, or any timing worth a benchmark: what is measured is said with its conditions.

Offline is the panel of the file (`learning_set`) through `features` and the model: nothing of the stream. Compared is
the score that holds of every hour from a stay's first to its last measurement, to the bit. What the stream knows of a
person is what admissions tell: whole years of age, and no hours before intensive care where the file has none.

The pace matters: topics are read beside each other, and hours are scored anew only within `REACH_H` of the newest.
Sent so fast that one topic is further ahead of another than that, hours keep the scores of what was known in time.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shlex
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from infra.bench import results
from infra.bench.report import Report
from infra.bench.surroundings import Deployment, surroundings
from infra.loaders import physionet
from infra.loaders.loaded import HOUR_MS, patient_id
from infra.simulator.ledger import Ledger
from infra.simulator.player import Pace, Player
from pipelines.clinical.sepsis.learning_set import LearningSet, read_parquet
from pipelines.clinical.sepsis.model_files import champion
from pipelines.clinical.sepsis.panel import Panel, of_stays
from pipelines.clinical.sepsis.score import OnnxModel
from warehouse.analytics import Analytics
from warehouse.contract import load_contracts
from warehouse.identity import Tokenizer
from warehouse.settings import Settings
from warehouse.vault import open_vault

STREAMS = ("adt.events", "device.vitals", "lab.results", "alert.feedback")
WAIT_S = 3_600.0
MISSING_SHOWN = 5

Scores = dict[tuple[str, int], float]
"""(subject token, hour of the stay) -> score"""


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m infra.bench.sepsis_stays", description=__doc__)
    parser.add_argument("file", type=Path, help="training_setA.parquet of the PhysioNet Challenge 2019")
    parser.add_argument("--stays", type=int, default=2_000)
    parser.add_argument("--rate", type=float, default=5_000.0, help="most messages a second")
    parser.add_argument("--speed", type=float, default=3_600.0, help="most seconds of the stays a second")
    parser.add_argument("--record", action="store_true", help="keep it in infra/bench/results/ and write RESULTS.md")
    given = sys.argv[1:] if arguments is None else arguments
    options = parser.parse_args(given)
    found = run(options.file, options.stays, Pace(options.speed, options.rate))
    print(json.dumps(found, indent=2))
    if options.record:
        command = shlex.join(["python", "-m", "infra.bench.sepsis_stays", *given])
        results.record([_report(found, options.file.name, options.speed)], command)
    return 0 if found["equal"] else 1


def run(file: Path, stays: int, pace: Pace) -> dict[str, Any]:
    """Play, score, compare. The stream is stopped and started again on the way."""
    with surroundings(_say) as around:
        settings = around.settings("stays")
        with Deployment(settings) as deployment:
            stream = deployment.start_stream()
            sent, seconds = _play(settings, file, stays, pace)
            deployment.wait_for("the end of the stays", lambda s: _is_through(s, sent), WAIT_S, stream)
            usage = deployment.drain(stream)
            deployment.run_to_the_end()
        told, counts = _told(settings)
        offline = _offline(settings, file, stays)
    missing = sorted(offline.keys() - told.keys(), key=lambda key: key[1])
    both = {key: score for key, score in told.items() if key in offline}
    return {
        "stays": stays,
        "messages": sent,
        "sent_in_s": round(seconds, 1),
        "stream_cpu_s": round(usage.cpu_s, 1),
        "stream_peak_mb": usage.peak_bytes >> 20,
        **counts,
        "hours_offline": len(offline),
        "hours_told": len(told),
        "hours_missing": len(missing),
        "some_missing": [_placed(key, offline, told) for key in missing[:MISSING_SHOWN]],
        "hours_that_differ": sum(both[key] != offline[key] for key in both),
        "largest_difference": max((abs(both[key] - offline[key]) for key in both), default=0.0),
        "digest_offline": _digest(offline),
        "digest_stream": _digest(both),
        "equal": both == offline,
    }


def _report(found: dict[str, Any], file: str, speed: float) -> Report:
    hours = ("hours_offline", "hours_told", "hours_missing", "hours_that_differ")
    counts = ("score_rows", "sepsis_alerts", "sepsis_retractions", "with_contributions")
    return Report(
        name="stays",
        title="Real stays through the whole product, scores held against those reckoned offline",
        data=f"{found['stays']:,} stays of {file}, {found['messages']:,} messages, {speed:,g} s of the stays a second",
        columns=("", "number"),
        rows=tuple((name.replace("_", " "), found[name]) for name in (*hours, *counts)),
        figures={name: value for name, value in found.items() if name != "some_missing"},
        remarks=(
            f"Scores are {'equal to the bit' if found['equal'] else 'NOT EQUAL'}: digest {found['digest_stream'][:16]} "
            f"of the stream, {found['digest_offline'][:16]} offline; the stream was stopped and started on the way.",
        ),
    )


def _play(settings: Settings, file: Path, stays: int, pace: Pace) -> tuple[int, float]:
    end_ms = int(time.time() * 1000) - HOUR_MS
    events = physionet.load(file, end_ms, stays).events
    topics = {stream: settings.topic(stream) for stream in STREAMS}
    ledger = Ledger(settings.home / "ledger.jsonl", {"topics": topics, "title": "stays", "expected_alerts": []})
    began = time.monotonic()
    player = Player(settings.kafka(), topics, ledger, pace, time.time, time.sleep)
    player.play(events, flush_seconds=600.0)
    return player.counts["ok"], time.monotonic() - began


def _is_through(status: dict[str, Any], sent: int) -> bool:
    read = sum(sum((status.get("next") or {}).get(stream, {}).values()) for stream in STREAMS)
    return read >= sent


def _told(settings: Settings) -> tuple[Scores, dict[str, int]]:
    with Analytics(settings) as analytics:
        rows = analytics.query("SELECT subject_token, hour_of_stay, score FROM scores_current").table.to_pylist()
        counts = analytics.query(
            "SELECT (SELECT count(*) FROM scores) AS score_rows, "
            "(SELECT count(*) FROM alerts WHERE rule = 'sepsis' AND retracts IS NULL) AS sepsis_alerts, "
            "(SELECT count(*) FROM alerts WHERE rule = 'sepsis' AND retracts IS NOT NULL) AS sepsis_retractions, "
            "(SELECT count(*) FROM scores WHERE revision = 1) AS with_contributions"
        ).table.to_pylist()[0]
    return {(row["subject_token"], row["hour_of_stay"]): float(np.float32(row["score"])) for row in rows}, counts


def _offline(settings: Settings, file: Path, stays: int) -> Scores:
    """Scores of the file's hours from each stay's first measurement to its last."""
    known = read_parquet(file)
    panel = _as_told(known, stays)
    score = OnnxModel(champion()).score_panel(panel).score
    measured = np.asarray(~np.isnan(panel.values).all(axis=1))
    topic = load_contracts().stream("device.vitals").topic
    assert topic is not None, "vitals have a topic"
    tokenizer = Tokenizer(open_vault(settings.vault_uri, time.monotonic).token_key(), topic.key_system)
    names = [patient_id("physionet", int(name[1:])) for name in known.patients[:stays].tolist()]
    scores: Scores = {}
    for stay, token in enumerate(tokenizer.tokens(names)):
        low, high = int(panel.starts[stay]), int(panel.starts[stay + 1])
        within = np.flatnonzero(measured[low:high])
        if token is not None and len(within):
            rows = range(low + int(within[0]), low + int(within[-1]) + 1)
            scores.update({(token, int(panel.hour[row])): float(score[row]) for row in rows})
    return scores


def _as_told(known: LearningSet, stays: int) -> Panel:
    """The first stays, their people as admissions tell them."""
    panel = of_stays(known.panel, np.arange(stays))
    told_h = np.where(panel.admission_h < 0, np.round(panel.admission_h.astype(np.float64), 2), 0.0)
    told_h = (np.round(told_h * HOUR_MS) / 1000 / 3600).astype(np.float32)
    return Panel(panel.values, panel.starts, panel.hour, np.floor(panel.age), panel.sex, told_h, panel.unit)


def _placed(key: tuple[str, int], offline: Scores, told: Scores) -> dict[str, Any]:
    """Where in its stay an hour stands that was not scored, for whoever looks for the reason."""
    token, hour = key
    hours = [sorted(other for of, other in scores if of == token) for scores in (offline, told)]
    return {"subject_token": token, "hour": hour, "stay": hours[0][:1] + hours[0][-1:], "told": len(hours[1])}


def _digest(scores: Scores) -> str:
    lines = (f"{token} {hour} {float(score).hex()}\n" for (token, hour), score in sorted(scores.items()))
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
