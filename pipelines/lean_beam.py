"""Beam without the libraries it looks for and we never use. To be imported before anything of Beam.

Holds: one import of Beam, while pandas (data frames), pymongo and boto3 (its connectors) cannot be found. Beam does
without each where it is not installed; here other rooms install them. It saves more than half of the CPU of Beam's
import and some 60 MB. Arrow and DuckDB look for pandas too, whatever they are asked: `hide_data_frames` is for a
process that has none, and saves it a second of start and 70 MB.
Does not hold: anything else. Who imports Beam first without this has all of it, and nothing works differently.
"""

from __future__ import annotations

import importlib
import logging
import sys
from collections.abc import Generator
from contextlib import contextmanager

_UNUSED = ("pandas", "pymongo", "boto3")


class _Absent:
    """Says of some modules that they are not installed. (A None in `sys.modules` says so to Python code only: what is
    compiled by Cython takes it for the module.)"""

    def __init__(self, names: tuple[str, ...]) -> None:
        self._names = names

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        if name in self._names:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


def hide_data_frames() -> None:
    """For the rest of this process pandas is as if it were not installed. To be called before Arrow's first array."""
    sys.meta_path.insert(0, _Absent(("pandas",)))


@contextmanager
def hidden(names: tuple[str, ...]) -> Generator[None, None, None]:
    """While it lasts, modules of these names that are not imported yet are as if they were not installed."""
    absent = _Absent(names)
    sys.meta_path.insert(0, absent)
    try:
        yield
    finally:
        sys.meta_path.remove(absent)


@contextmanager
def without_a_word() -> Generator[None, None, None]:
    """Beam tells the root logger what it did not find, and by that sets it up before the program does."""
    root = logging.getLogger()
    handlers = root.handlers.copy()
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)
        root.handlers[:] = handlers


with hidden(_UNUSED), without_a_word():
    importlib.import_module("apache_beam")
