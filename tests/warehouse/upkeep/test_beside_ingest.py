"""Upkeep beside live ingest: few commits meet it, none is lost, and nobody takes a rewrite for news."""

from __future__ import annotations

import threading
import time

from tests.warehouse.fenced import each_once, interval, positions, readings
from tests.warehouse.upkeep.kept import HOUR, fenced, loaded, missing, small_files, upkeep
from warehouse.days import changes_since
from warehouse.settings import Settings
from warehouse.upkeep.plan import UpkeepPolicy

PERIOD_S = 0.2
COMMITS = 160
ROWS = 10
POLICY = UpkeepPolicy(kept_snapshots=5, least_objects=1)


class LiveIngest(threading.Thread):
    """Commits every so often; counts those that needed a second attempt, and what is news after each."""

    def __init__(self, settings: Settings, start: int) -> None:
        super().__init__(daemon=True)
        self._settings, self._start = settings, start
        self.attempts: list[int] = []
        self.failure: BaseException | None = None

    def run(self) -> None:
        try:
            self._commit_all()
        except BaseException as error:
            self.failure = error

    def _commit_all(self) -> None:
        table = fenced(self._settings)
        for n in range(COMMITS):
            began = time.monotonic()
            start = self._start + n * ROWS
            receipt = table.commit(readings(start, start + ROWS), [interval(start, start + ROWS)])
            self.attempts.append(receipt.attempts)
            time.sleep(max(0.0, PERIOD_S - (time.monotonic() - began)))


def test_few_commits_meet_upkeep_and_none_is_lost(store_lake: Settings) -> None:
    small_files(store_lake, commits=20, rows=ROWS)
    ingest = LiveIngest(store_lake, 20 * ROWS)
    ingest.start()
    swept, changes = 0, 0
    for share, hours in ((0.3, 0), (0.6, 2)):
        wait_for(ingest, share)
        steps: list[str] = []
        done = upkeep(store_lake, POLICY, later=HOUR * hours, progress=steps.append).run("vitals")
        swept += done.swept.objects if done.swept else 0
        changes += steps.count("landed") + steps.count("expire")
    ingest.join()
    assert ingest.failure is None
    assert swept
    again = sum(attempts > 1 for attempts in ingest.attempts)
    print(f"{again} of {COMMITS} commits again beside {changes} changes by upkeep; {swept} objects swept")
    assert again <= changes, "none but those that met a change of the head"
    assert again / COMMITS < 0.05
    assert not missing(store_lake)
    assert positions(store_lake) == each_once(0, (20 + COMMITS) * ROWS)
    seen = loaded(store_lake).current_snapshot().sequence_number
    assert upkeep(store_lake, POLICY, later=HOUR * 4).run("vitals").compacted
    assert changes_since(loaded(store_lake), seen).rows == {}


def wait_for(ingest: LiveIngest, share: float) -> None:
    deadline = time.monotonic() + 200
    while len(ingest.attempts) < share * COMMITS and ingest.is_alive() and time.monotonic() < deadline:
        time.sleep(0.05)
