"""Looking up an SQL dialect from several threads at once."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest

RACE = """
import sys, time, threading
from concurrent.futures import ThreadPoolExecutor
from types import ModuleType
import sqlalchemy.dialects
from sqlalchemy import make_url
from warehouse import catalog, coordination, dialects
from warehouse.settings import Settings

class Slow(ModuleType):
    def __setattr__(self, name, value):
        if name == "sqlite":
            started.set()
            time.sleep(0.5)
        super().__setattr__(name, value)

started = threading.Event()
sqlalchemy.dialects.__class__ = Slow
look_up = {
    "ours": dialects.load_dialect,
    "the coordination's": lambda uri: coordination.Coordination(uri, "scope", "owner"),
    "the catalog's": lambda uri: catalog._sql_catalog(uri, settings),
    "SQLAlchemy's": lambda uri: make_url(uri).get_dialect(),
}[sys.argv[1]]
settings = Settings.from_environment({})
with ThreadPoolExecutor(2) as threads:
    first = threads.submit(look_up, "sqlite://")
    assert started.wait(10)
    second = threads.submit(look_up, "sqlite://")
    first.result(), second.result()
"""


@pytest.mark.parametrize(
    ("whose", "code"), [("ours", 0), ("the coordination's", 0), ("the catalog's", 0), ("SQLAlchemy's", 1)]
)
def test_a_second_thread_waits_until_the_first_has_the_dialect(whose: str, code: int) -> None:
    command = [sys.executable, "-c", textwrap.dedent(RACE), whose]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == code, ended.stderr
    assert ("AttributeError" in ended.stderr) == bool(code)
