"""The short form: three of the scenarios, once each, on one stack. The long form is `python -m tests.crash.stack`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.conftest import cannot
from tests.crash.stack.endings import EXACT, STOPPED
from tests.crash.stack.rounds import describe, play_round
from tests.crash.stack.servers import MissingError
from tests.crash.stack.stack import Stack
from tests.postgres import PostgresMissingError

pytestmark = [pytest.mark.crash, pytest.mark.timeout(900)]
SEED = 3


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    try:
        with Stack("postgresql", str(SEED)) as stack:
            yield stack
    except (MissingError, PostgresMissingError) as error:
        cannot("no catalog to kill", str(error))


@pytest.mark.parametrize(
    ("scenario", "ending"),
    [
        ("rival-streams-killed", EXACT),  # the fence, when two own everything and both are killed
        ("catalog-answers-lost", EXACT),  # commits whose outcome is unknown
        ("retention-overtakes", STOPPED),  # what is lost is said to be lost
    ],
)
def test_a_stack_under_fire_loses_nothing_doubles_nothing_or_says_that_it_stopped(stack, scenario, ending):
    done = play_round(stack, scenario, 0, SEED, brief=True)
    assert done.ending.kind == ending, f"{describe(done)}\n{done.ending.words}"
    if scenario == "catalog-answers-lost":
        assert done.answers_lost
