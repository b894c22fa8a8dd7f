"""What a failing asset or sensor may say in Dagster's log and pages.

Holds: the guard around every call that looks at rows.
Does not hold: verdicts (`expectations`), which name expectations and counts only.

DuckDB and Great Expectations quote what they looked at in the texts of their errors, and Dagster keeps those texts, of
causes and contexts too. Of an error that is not ours only its kind and its place are let through.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable
from typing import ParamSpec, TypeVar

OURS = ("assets", "expectations", "pipelines", "warehouse")
"""Packages whose errors carry no value of a row, by the rule of the house."""

P = ParamSpec("P")
T = TypeVar("T")


class WithheldError(RuntimeError):
    """An error of a library, without its text."""


def without_values(call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """The call's result. Its errors leave without cause and context, and those of libraries as `WithheldError`."""
    try:
        return call(*args, **kwargs)
    except Exception as error:
        failure = error if _is_ours(error) else WithheldError(_kind_and_place(error))
    failure.__cause__ = failure.__context__ = None
    raise failure


def _is_ours(error: BaseException) -> bool:
    return type(error).__module__.partition(".")[0] in OURS


def _kind_and_place(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    place = next((frame for frame in reversed(frames) if _is_our_file(frame.filename)), frames[-1])
    kind = f"{type(error).__module__}.{type(error).__name__}"
    return f"{kind} at {place.filename}:{place.lineno}; its text may quote a value and is withheld"


def _is_our_file(filename: str) -> bool:
    return "site-packages" not in filename and any(f"/{package}/" in filename for package in OURS)
