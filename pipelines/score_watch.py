"""Scores beside the rules: every batch is shown to the sepsis model once the rules' alerts are on Kafka.

Holds: which model is in force, the sending of its scores, contributions that follow.
Does not hold: what is found (`pipelines/clinical/sepsis/stream_score.py`), the messages, the sending of alerts
(`alert_sending.py`), or when a batch comes (`watch.py`).

A score that is not sent before the process dies is made again after the restart: what was told is read from the lake.
So scores are handed over and not waited for; alerts are. Whatever goes wrong in scoring ends the scoring of that shard,
and is told in the status: the rules' alerts and the lake go on.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import UTC, datetime
from functools import cached_property

import pyarrow as pa

from pipelines.alert_producer import AlertProducer
from pipelines.alert_sending import AlertSender
from pipelines.clinical.sepsis.contributions import Asked, Contributions
from pipelines.clinical.sepsis.intensive_care import IntensiveCare
from pipelines.clinical.sepsis.model_files import ModelFilesError, champion
from pipelines.clinical.sepsis.score import OnnxModel
from pipelines.clinical.sepsis.score_message import STREAM as SCORES
from pipelines.clinical.sepsis.score_message import Score, encode_score
from pipelines.clinical.sepsis.score_times import ScoreTimes
from pipelines.clinical.sepsis.stream_score import NOTHING, STREAMS, SepsisMonitor, Told
from pipelines.model_source import RegisteredModels, registered_models
from pipelines.score_producer import ScoreProducer
from pipelines.shards import ShardState
from warehouse.settings import Settings

SETTLE_S = 10.0
"""How long an orderly end waits for the broker to have the last scores."""

_LOG = logging.getLogger(__name__)


class ScoreWatch:
    """The process's: one model, one producer, one thread of contributions for all its shards."""

    def __init__(self, settings: Settings, producer: Callable[[], AlertProducer]) -> None:
        self._settings = settings
        self._alerts = AlertSender(settings, producer)
        self._times = ScoreTimes()
        self.trouble = ""

    @cached_property
    def source(self) -> RegisteredModels | None:
        """None where no model can be used: the rules go on, and `trouble` says what to mend."""
        try:
            built_in = OnnxModel(champion())
        except ModelFilesError as error:
            self.trouble = str(error)
            _LOG.warning("no sepsis scores: %s", error)
            return None
        return registered_models(self._settings, built_in).start()

    @cached_property
    def _scores(self) -> ScoreProducer:
        return ScoreProducer(self._settings)

    @cached_property
    def _contributions(self) -> Contributions:
        return Contributions(self._tell_contributions)

    def monitor(self) -> SepsisMonitor | None:
        """An empty monitor for a shard; None without a model."""
        wards = IntensiveCare(self._settings.intensive_care)
        return SepsisMonitor(self.source, wards=wards) if self.source is not None else None

    def wants(self, state: ShardState, stream: str) -> bool:
        """Whether rows of the stream are of use to the shard's scores."""
        return state.scores is not None and stream in STREAMS

    def show(self, state: ShardState, stream: str, rows: pa.Table, now: datetime) -> None:
        """Show rows of a stream. Returns when the broker has every alert that came of it."""
        self._look(state, lambda scores: scores.observe(stream, rows, now), now)

    def tick(self, state: ShardState, now: datetime) -> None:
        """Score those who wait for more to come, where nothing comes."""
        self._look(state, lambda scores: scores.pass_time(int(now.timestamp() * 1000), now), now)

    def settle(self, state: ShardState) -> None:
        """Score before the end, unless the broker is away: everybody who has something new where nothing more comes,
        and where somebody else goes on those whose turn has come."""
        if not state.reader.trouble:
            now = datetime.now(UTC)
            self._look(state, lambda scores: scores.settle(now) if state.ended() else scores.hasten(now), now)
            if "_scores" in self.__dict__:  # else none was ever told
                self._scores.settle(SETTLE_S)

    def _look(self, state: ShardState, look: Callable[[SepsisMonitor], Told], now: datetime) -> None:
        """Tell what the shard's model finds; an error in it costs the scores and nothing else."""
        if state.scores is None:
            return
        try:
            told = look(state.scores)
        except Exception as error:
            state.scores = None
            self.trouble = f"scoring ended ({type(error).__name__}) and is tried again after a restart; the rules go on"
            _LOG.warning("%s", self.trouble)
            return
        self._tell(state, told, now)

    def said(self) -> dict[str, object]:
        """For the status file."""
        source = self.__dict__.get("source")
        left_out = self._contributions.left_out if "_contributions" in self.__dict__ else 0
        models = source.said() if source else {"model": None, "coming": [], "trouble": ""}
        scores = self.__dict__.get("_scores")
        told = {"told": sum(scores.handed.values()) if scores else 0, "lost": scores.lost if scores else 0}
        return {**models, "trouble": self.trouble or models["trouble"], **told, "contributions_left_out": left_out}

    def _tell(self, state: ShardState, told: Told, now: datetime) -> None:
        if told is NOTHING:
            return
        look = self._times.look(told.scores, now)
        self._alerts.send(state, told.alerts, look.at)
        self._send_scores(state, told.scores, look.scored_at)
        made_at = dict(zip((score.score_id for score in told.scores), look.scored_at, strict=True))
        for model, score, row in told.explained:
            files = getattr(model, "files", None)
            if files is not None:
                scored_at = made_at.get(score.score_id, look.before)
                self._contributions.ask(Asked(score, row, files, state.facts[score.stream].topic_id, scored_at))

    def _send_scores(self, state: ShardState, scores: tuple[Score, ...], times: tuple[datetime, ...]) -> None:
        if scores:
            messages = [
                (score.key, encode_score(score, state.facts[score.stream].topic_id, scored_at))
                for score, scored_at in zip(scores, times, strict=True)
            ]
            self._scores.hand_over(self._settings.topic(SCORES), messages)

    def _tell_contributions(self, asked: Asked, score: Score) -> None:
        message = encode_score(score, asked.topic_id, asked.scored_at)
        self._scores.hand_over(self._settings.topic(SCORES), [(score.key, message)])
