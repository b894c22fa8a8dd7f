"""A process of its own in which Dagster judges and derives some days, one after the other.

`python -m assets.judging DAY=KEY,KEY,… …`: asset keys as `quality/vitals`. Each day is a run of the home's
Dagster, so its pages show it; whether it succeeded is a line of JSON on standard output. One process for all of them:
what takes longest is to import Great Expectations and every asset.
Holds: the runs. Does not hold: which assets a day has (whoever asks says so), nor any asset.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence

import dagster as dg

from assets.definitions import defs


def main(arguments: Sequence[str]) -> int:
    """0 when every day's run succeeded."""
    job, instance = defs.resolve_implicit_global_asset_job_def(), dg.DagsterInstance.get()
    succeeded = []
    for argument in arguments:
        day, _, keys = argument.partition("=")
        chosen = [dg.AssetKey(key.split("/")) for key in keys.split(",")]
        run = job.execute_in_process(partition_key=day, asset_selection=chosen, instance=instance, raise_on_error=False)
        succeeded.append(run.success)
        print(json.dumps({"day": day, "succeeded": run.success}), flush=True)
    return 0 if all(succeeded) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
