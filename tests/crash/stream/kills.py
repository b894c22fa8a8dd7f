"""Kills of the stream process, again and again, while a ward is played; and whether a commit was under way each time.

Holds: the loop of kills. Does not hold: the deployment (tests/deployment.py) or any judgement (tests/oracle).
Long form: `python -m tests.crash.stream --kills N`.
"""

from __future__ import annotations

import random
import threading
import time
from dataclasses import dataclass

from pyarrow.fs import FileSelector, FileType, S3FileSystem
from pyiceberg.table import Table

from infra.cli import upkeep
from tests.deployment import Deployment
from warehouse.catalog import load_table, open_catalog
from warehouse.settings import Settings

RATE = 1_500.0
"""Messages a second, by the ledger; a kill counts only while they flow. In a thinner flow few kills strike anything
staged."""
_LONGEST_LIFE_S = 4.0
_LONGEST_START_S = 180.0
_LIVES_BETWEEN_UPKEEP = 10
"""Five commits a second leave files that slow each start; a deployment's upkeep, here beside the stream, joins them."""


@dataclass(frozen=True, slots=True)
class Kills:
    """What was done to the stream: `in_flight` of `kills` struck while files were staged for no snapshot yet."""

    kills: int
    in_flight: int


def kill_again_and_again(deployment: Deployment, kills: int, in_flight: int, seed: int) -> Kills:
    """Play wards and kill the stream at random until both numbers are reached; leaves nothing running."""
    chance, over = random.Random(seed), threading.Event()
    playing = threading.Thread(target=deployment.play_wards_until, args=(over, seed, 60, RATE), daemon=True)
    playing.start()
    done = struck = 0
    while done < kills or struck < in_flight:
        assert done < 10 * kills, f"only {struck} of {done} kills struck a commit under way"
        before = deployment.status().get("at", 0.0)
        process = deployment.start_stream(WARDSTREAM_COMMIT_SECONDS="0.2")
        deployment.wait_for(
            "the stream", lambda s, before=before: s.get("state") == "running" and s["at"] > before, _LONGEST_START_S
        )
        if done % _LIVES_BETWEEN_UPKEEP == _LIVES_BETWEEN_UPKEEP - 1:
            assert upkeep.run(deployment.settings, ()) == 0
        time.sleep(chance.uniform(0.2, _LONGEST_LIFE_S))
        orphans = unreferenced(deployment.settings)
        process.kill()
        process.wait()
        done += 1
        struck += unreferenced(deployment.settings) > orphans
    over.set()
    playing.join()
    return Kills(done, struck)


def unreferenced(settings: Settings) -> int:
    """Data files of `vitals` in the store that no snapshot of the table names: staged, and not committed."""
    table = load_table(open_catalog(settings), settings.namespace, "vitals")
    files = S3FileSystem(
        access_key=settings.s3_access_key, secret_key=settings.s3_secret_key, endpoint_override=settings.s3_endpoint
    )
    folder = table.location().split("://", 1)[1] + "/data"
    found = files.get_file_info(FileSelector(folder, recursive=True, allow_not_found=True))
    stored = {info.path for info in found if info.type == FileType.File}
    table.refresh()
    return len(stored - _named(table))


def _named(table: Table) -> set[str]:
    """Every file that a snapshot names; pyiceberg's own listing cannot bear a table that has none yet."""
    if not any(snapshot.manifests(table.io) for snapshot in table.snapshots()):
        return set()
    return {path.split("://", 1)[1] for path in table.inspect.all_files()["file_path"].to_pylist()}
