from __future__ import annotations

import subprocess
import sys

SCRIPT = """
import sys
import pipelines.lean_beam
assert "apache_beam" in sys.modules
assert not {"pandas", "pymongo", "boto3"} & sys.modules.keys(), "imported all the same"
import logging, pandas
assert not logging.getLogger().handlers, "the root logger was set up"
assert pandas.DataFrame({"a": [1]}).shape == (1, 1)
import apache_beam as beam
from pipelines.runner import EmbeddedRunner
class Check(beam.DoFn):
    def process(self, element):
        assert element in (1, 2)
        print("seen", element)
pipeline = beam.Pipeline(runner=EmbeddedRunner())
pipeline | beam.Create([1, 2]) | beam.ParDo(Check())
pipeline.run()
"""


def test_beam_runs_without_pandas_and_connectors_and_others_still_find_them():
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    assert sorted(done.stdout.splitlines()) == ["seen 1", "seen 2"]


WITHOUT = """
from pipelines.lean_beam import hide_data_frames
hide_data_frames()
import duckdb, pyarrow, sys
assert pyarrow.array([1]).to_pylist() == [1]
assert duckdb.connect().execute("SELECT ? AS n", [1]).to_arrow_table().to_pylist() == [{"n": 1}]
assert "pandas" not in sys.modules, "imported all the same"
"""


def test_arrow_and_duckdb_work_in_a_process_without_pandas():
    done = subprocess.run([sys.executable, "-c", WITHOUT], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
