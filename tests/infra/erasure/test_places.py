"""A file that nothing writes anew is named, so that somebody can delete it."""

from __future__ import annotations

from pathlib import Path

import pytest

from infra.erasure.places import FolderStore
from tests.warehouse.conftest import lake_settings
from tests.warehouse.erasure.made import PEOPLE, Ward
from warehouse.erasure.run import Surroundings
from warehouse.erasure.states import CERTIFIED
from warehouse.erasure.stores import NotYetError

GONE = PEOPLE[2]


def test_a_log_that_has_a_token_is_named_with_the_remedy_and_nobody_in_it(tmp_path: Path) -> None:
    ward = Ward(lake_settings(tmp_path / "home", f"file://{tmp_path}/lake"))
    logs = tmp_path / "run"
    (logs / "old").mkdir(parents=True)
    (logs / "old" / "stream.log").write_text(f"oops {ward.token(GONE)}")
    (logs / "other.log").write_text("nothing")
    around = Surroundings(stores=[FolderStore("logs", logs)])
    ward.ask(GONE)
    with pytest.raises(NotYetError, match=r"delete run/old/stream\.log by hand") as stopped:
        ward.erasure(around).run()
    assert ward.token(GONE) not in str(stopped.value)
    (logs / "old" / "stream.log").unlink()
    assert [each.state for each in ward.erasure(around).run()] == [CERTIFIED]
