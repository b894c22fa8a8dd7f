"""Spark with Iceberg's own runtime compacts a table and expires its snapshots while the streams write to it.

Spark and its jars are not ours to bring: WARDSTREAM_STACK_SPARK names a Python that has pyspark 4.1,
WARDSTREAM_STACK_SPARK_JARS a folder with iceberg-spark-runtime-4.1_2.13, iceberg-aws-bundle and PostgreSQL's driver.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from random import Random

from tests.crash.stack.endings import RED, Ending
from tests.crash.stack.scenarios.tables import after_a_change, some_commits
from tests.crash.stack.servers import MissingError
from tests.crash.stack.site import Site

SPARK_S = 600.0


def spark_compacts_and_expires(site: Site, chance: Random) -> Ending:
    """First a compaction, whose snapshot has no vector of ours, then an expiry that leaves only the head."""
    streams = some_commits(site, chance, seldom=True)
    for step in ("compact", "expire"):
        done = _spark(site, "vitals", step)
        site.tally.notes.append(f"Spark: {step} ended with {done.returncode}: {done.stdout.strip()[-200:]}")
        if done.returncode:
            said = [line for line in done.stderr.splitlines() if "xception" in line or "rror" in line]
            return Ending(RED, f"Spark could not {step}: " + "\n".join(said[:12]))
    return after_a_change(site, streams)


def _spark(site: Site, table: str, step: str) -> subprocess.CompletedProcess[str]:
    python, jars = os.environ.get("WARDSTREAM_STACK_SPARK"), os.environ.get("WARDSTREAM_STACK_SPARK_JARS")
    if not python or not jars:
        raise MissingError("no Spark: set WARDSTREAM_STACK_SPARK and WARDSTREAM_STACK_SPARK_JARS")
    s = site.settings
    told = {
        "step": step,
        "table": f"{s.namespace}.{table}",
        "jars": ",".join(str(jar) for jar in sorted(Path(jars).glob("*.jar"))),
        "jdbc": site.stack.jdbc,
        "warehouse": s.warehouse,
        "endpoint": s.s3_endpoint,
        "key": s.s3_access_key,
        "secret": s.s3_secret_key,
        "region": s.s3_region,
    }
    program = Path(__file__).parents[1] / "spark_upkeep.py"
    return subprocess.run(
        [python, str(program)], input=json.dumps(told), capture_output=True, text=True, timeout=SPARK_S, check=False
    )
