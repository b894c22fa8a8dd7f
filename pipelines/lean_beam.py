"""Beam without the libraries it looks for and we never use. To be imported before anything of Beam.

Holds: one import of Beam, while pandas (data frames), pymongo and boto3 (its connectors) cannot be found. Beam does
without each where it is not installed; here other rooms install them. It saves more than half of the CPU of Beam's
import and some 60 MB.
Does not hold: anything else. Who imports Beam first without this has all of it, and nothing works differently.
"""

from __future__ import annotations

import importlib
import logging
import sys
from collections.abc import Generator
from contextlib import contextmanager

_UNUSED = ("pandas", "pymongo", "boto3")


@contextmanager
def hidden(names: tuple[str, ...]) -> Generator[None, None, None]:
    """While it lasts, modules of these names that are not imported yet are as if they were not installed."""
    new = [name for name in names if name not in sys.modules]
    # By the language's reference: None there makes an import raise ModuleNotFoundError.
    sys.modules.update(dict.fromkeys(new))  # ty: ignore[no-matching-overload]
    try:
        yield
    finally:
        for name in new:
            del sys.modules[name]


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
