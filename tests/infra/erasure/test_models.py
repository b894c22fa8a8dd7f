"""A model that learned from somebody: after the erasure there is the one that would be, had they never been there.

On a real store, with the product's own training, made small.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from infra.erasure.models import model_store
from pipelines import retraining
from pipelines.clinical.sepsis.model_files import NAME
from pipelines.model_source import registered_models
from pipelines.retraining import Retraining
from tests.conftest import READER
from tests.pipelines.clinical.sepsis.stays import SMALL
from tests.pipelines.clinical.sepsis.toy_model import ToyModel
from tests.pipelines.test_retraining import TABLES, commits, outcomes, put, readings
from tests.warehouse.conftest import lake_settings
from tests.warehouse.erasure.made import Clock
from warehouse.catalog import create_table, open_catalog, table_lock
from warehouse.contract import load_contracts
from warehouse.erasure.ledger import mark_of
from warehouse.erasure.models import ErasedMeanwhileError, ModelStore
from warehouse.erasure.requests import Asked
from warehouse.erasure.run import Erasure, certificate_file
from warehouse.erasure.states import CERTIFIED
from warehouse.models.artefacts import ArtefactError
from warehouse.models.kept_snapshots import STALE, KeptSnapshots
from warehouse.models.people import models_that_knew
from warehouse.models.registry import CHALLENGER, CHAMPION, LEAD, RELOAD, SHADOW, WITHDRAWN, RegistryError, Role
from warehouse.settings import Settings
from warehouse.vault import LEARNERS_KEY, LEDGER_KEY, open_vault

GONE, HELD_OUT = "token006", "token003"
START = datetime(2026, 11, 22, 12, tzinfo=UTC)
KEPT = ("erasure_requests", "erasure_receipts", "retention_holds", "retention_receipts")


class House:
    """A lake with stays, outcomes and models, and erasure of it."""

    def __init__(self, settings: Settings, without: Iterable[str] = ()) -> None:
        self.settings, self.contracts, self.catalog = settings, load_contracts(), open_catalog(settings)
        self.vault = open_vault(settings.vault_uri, lambda: 0.0)
        self.clock = Clock(START)
        self.slept: list[float] = []
        for name in (*TABLES, *KEPT):
            create_table(self.catalog, settings.namespace, self.contracts.table(name), table_lock(settings))
        for name, rows in (("vitals", readings()), ("alert_feedback", outcomes())):
            put(settings, name, [row for row in rows if row["subject_token"] not in set(without)])
        self.training = Retraining(settings, self.contracts, self.catalog, "test", SMALL, self.clock)
        self.registry = self.training.registry

    def trained(self) -> str:
        return self.training.run("a test", self.clock(), progress=lambda line: None).model.version

    def role(self, version: str, role: str) -> None:
        now = self.clock()
        act = Role(f"{role}-{version}", NAME, version, role, now + LEAD, "because it is a test", {}, "test", now)
        self.registry.decide(act, now)
        self.clock.now += 2 * LEAD

    def champion(self) -> str | None:
        found = self.registry.champion(NAME, self.clock())
        return found.version if found else None

    def erasure(self, progress: Callable[[str], None] = lambda step: None) -> Erasure:
        def sleep(seconds: float) -> None:
            self.slept.append(seconds)
            self.clock.sleep(seconds)

        made = Erasure(
            self.settings, self.contracts, self.catalog, self.vault, surroundings=_none(), who="test",
            clock=self.clock, new_id=lambda: f"run-{self.clock():%H%M%S%f}", sleep=sleep, progress=progress,
        )  # fmt: skip
        made.surroundings.models = [model_store(made)]
        return made

    def erase(self, token: str, progress: Callable[[str], None] = lambda step: None) -> dict[str, Any]:
        """Ask and do; the certificate."""
        erasure, name = self.erasure(progress), f"e-{token[-3:]}"
        if name not in erasure.book.current():
            asked = Asked(name, token, None, "asked by letter", self.clock(), "desk")
            erasure.book.receive([erasure.book.new(asked, "test", self.clock())])
            erasure.verify(name, "passport seen")
        assert [each.state for each in erasure.run()] == [CERTIFIED]
        return json.loads(certificate_file(self.settings, name).read_text())["certificate"]

    def store(self) -> ModelStore:
        return self.erasure().surroundings.models[0]

    def tags(self, table: str = "vitals") -> dict[str, int]:
        refs = self.catalog.load_table((self.settings.namespace, table)).metadata.refs
        return {name: ref.snapshot_id for name, ref in refs.items() if name != "main"}

    def knew(self, token: str) -> list[str]:
        key = self.vault.house_key(LEARNERS_KEY)
        return list(models_that_knew(self.registry, key, [token]))


def named_toy() -> ToyModel:
    """A built-in model under the name that the register knows."""
    toy = ToyModel("built in")
    toy.name = NAME
    return toy


def _none() -> Any:
    from warehouse.erasure.run import Surroundings

    return Surroundings()


def lake(store: str, folder: Path) -> Settings:
    reader = {"WARDSTREAM_S3_READER_KEY": READER[0], "WARDSTREAM_S3_READER_SECRET": READER[1]}
    return lake_settings(folder, f"s3://warehouse/{uuid.uuid4().hex[:10]}", WARDSTREAM_S3_ENDPOINT=store, **reader)


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> House:
    monkeypatch.setattr(retraining, "LEAST_STAYS", 30)
    return House(lake_settings(tmp_path / "home", f"file://{tmp_path}/lake"))


def test_after_the_erasure_the_model_is_the_one_that_never_saw_the_person(
    store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retraining, "LEAST_STAYS", 30)
    house = House(lake(store, tmp_path / "house"))
    twin = House(lake(store, tmp_path / "twin"), without=[GONE])
    never = twin.registry.load(twin.trained())
    old = house.trained()
    house.role(old, CHAMPION)
    put(house.settings, "vitals", [each | {"event_id": "later", "ingest_time": house.clock()} for each in readings()])
    before = house.registry.load(old)
    assert house.knew(GONE) == [old]
    assert {name for name in before if before[name] != never[name]} >= {"model.txt.gz", "metadata.json"}

    said = house.erase(GONE)

    new = house.champion()
    assert new not in (old, None)
    assert house.registry.load(new or "") == never
    assert house.knew(GONE) == []
    (renewal,) = said["models"]
    assert (renewal["old"]["version"], renewal["new"]["version"]) == (old, new)
    assert renewal["new"]["files"].items() >= house.registry.model(new or "").artefacts.items()
    assert renewal["old"]["sha256"] != renewal["new"]["sha256"]
    assert set(house.tags()) == {f"model-{new}"}
    assert ("vitals", f"model-{old}", None) in {(each["table"], each["tag"], each["to"]) for each in said["tags"]}
    gone = {each["sha256"] for each in said["objects"] if "model-files" in each["object"]}
    assert gone == set(renewal["old"]["files"].values())


def test_old_files_profile_and_roles_are_away_and_the_old_one_can_have_none_again(house: House) -> None:
    old = house.trained()
    house.role(old, SHADOW)
    assert house.training.looks.profile(old)
    house.erase(GONE)
    with pytest.raises(ArtefactError):
        house.registry.load(old)
    assert house.training.looks.profile(old) == []
    with pytest.raises(RegistryError, match="withdrawn"):
        house.role(old, CHAMPION)
    last = {role.version: role.role for role in house.registry.roles()}
    assert last.pop(old) == WITHDRAWN
    ((new, role),) = last.items()
    assert role == SHADOW
    assert house.training.looks.profile(new)


def test_the_old_model_scores_until_the_new_one_does(house: House) -> None:
    old = house.trained()
    house.role(old, CHAMPION)
    models = registered_models(house.settings, named_toy())
    at = int(house.clock().timestamp() * 1000)
    models.poll()
    assert models.in_force(at).version == old
    seen = []

    def watched(step: str) -> None:
        if step in ("registered", "await reign", "delete files"):
            models.poll()
            seen.append((step, models.in_force(int(house.clock().timestamp() * 1000)).version))

    house.erase(GONE, watched)
    new = house.champion()
    assert seen == [("registered", old), ("await reign", old), ("delete files", new)]
    assert sum(house.slept) > (LEAD + RELOAD).total_seconds()
    models.poll()
    begins_again = registered_models(house.settings, named_toy())
    begins_again.poll()
    assert {begins_again.in_force(at).version, models.in_force(at + 1).version} == {new}
    assert old not in models._loaded


def test_where_too_few_are_left_the_built_in_model_reigns_and_it_is_said(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = house.trained()
    house.role(old, CHAMPION)
    monkeypatch.setattr(retraining, "LEAST_STAYS", 60)
    said = house.erase(GONE)
    assert house.champion() is None
    ((renewal),) = said["models"]
    assert renewal["new"] is None
    assert "59 stays" in renewal["why"]
    assert house.tags() == {}


def test_a_model_that_nobody_uses_goes_without_a_successor(house: House) -> None:
    old = house.trained()
    trained = []
    said = house.erase(GONE, lambda step: trained.append(step) if step == "train" else None)
    assert trained == []
    ((renewal),) = said["models"]
    assert (renewal["old"]["version"], renewal["new"], renewal["why"]) == (old, None, "nobody used it any more")
    assert house.tags() == {}


def test_a_tag_moves_off_the_rows_of_somebody_no_model_learned_from(house: House) -> None:
    version = house.trained()
    house.role(version, CHALLENGER)
    assert house.knew(HELD_OUT) == []
    before = house.tags()
    said = house.erase(HELD_OUT)
    assert said["models"] == []
    assert house.registry.load(version)
    assert house.tags().keys() == before.keys()
    assert house.tags() != before
    assert [each["from"] for each in said["tags"] if each["table"] == "vitals"] == list(before.values())


def test_what_a_training_under_way_keeps_holds_no_erasure_up(house: House) -> None:
    read = {"vitals": house.catalog.load_table((house.settings.namespace, "vitals")).current_snapshot().snapshot_id}
    kept = KeptSnapshots(house.catalog, house.settings.namespace)
    training = kept.keep(read, house.clock())
    dead = kept.keep(read, house.clock() - 2 * STALE)
    house.erase(GONE)
    assert house.tags().keys() == {training}
    assert dead not in house.tags()
    assert house.tags()[training] != read["vitals"]


def test_what_a_successor_learns_from_is_kept_while_the_stream_commits_and_it_learns(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.role(house.trained(), CHAMPION)
    read: list[int] = []
    learn = retraining.learn

    def slowly(*given: Any) -> Any:
        read.append(house.catalog.load_table((house.settings.namespace, "vitals")).current_snapshot().snapshot_id)
        commits(house.settings, 55)
        return learn(*given)

    monkeypatch.setattr(retraining, "learn", slowly)
    house.erase(GONE)
    successor = house.champion()
    assert house.registry.model(successor).snapshots["vitals"] == read[0]
    assert house.tags().keys() == {f"model-{successor}"}


def test_a_kill_anywhere_is_gone_on_from_and_ends_the_same(house: House) -> None:
    old = house.trained()
    house.role(old, CHAMPION)
    steps = ("train", "registered", "await reign", "delete files", "move tag", "tell models")

    class Killed(Exception):
        pass

    for at in steps:

        def dies(step: str, at: str = at) -> None:
            if step == at:
                raise Killed

        with pytest.raises(Killed):
            house.erase(GONE, dies)
    said = house.erase(GONE)
    ((renewal),) = said["models"]
    assert (renewal["old"]["version"], renewal["new"]["version"]) == (old, house.champion())
    assert len(house.registry.models()) == 2
    assert {each["sha256"] for each in said["objects"]} >= set(renewal["old"]["files"].values())


def test_a_model_learns_from_nobody_on_the_list_and_is_not_kept_where_somebody_comes_on_it_meanwhile(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fence(token: str) -> None:
        house.vault.fence([mark_of(house.vault.house_key(LEDGER_KEY), token)])

    learn = retraining.learn

    def slowly(*given: Any) -> Any:
        fence(GONE)
        return learn(*given)

    monkeypatch.setattr(retraining, "learn", slowly)
    with pytest.raises(ErasedMeanwhileError):
        house.trained()
    assert house.registry.models() == {}
    assert house.tags() == {}
    house.trained()
    assert house.knew(GONE) == []


def test_one_of_the_same_version_learnt_from_others_takes_the_row(house: House) -> None:
    row, files = replace(house.registry.model(house.trained())), {}
    files = house.registry.load(row.version)
    other = replace(row, learnt_from="ab" * 32, registered_at=START + timedelta(days=1))
    assert house.registry.register(other, files) is False
    assert house.registry.register(other, files, learnt_anew=True) is True
    assert house.registry.model(row.version).learnt_from == "ab" * 32
