"""The register of models: rows are added only, roles hold from an append time on, files are what was put."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import permutations

import pytest

from tests.warehouse.models.conftest import NOON, model, role
from tests.warehouse.test_commit import Answers, once
from warehouse.catalog import open_catalog
from warehouse.contract import load_contracts
from warehouse.identity import SealError
from warehouse.models.artefacts import ArtefactError, sha256
from warehouse.models.people import models_that_knew, open_people, seal_people
from warehouse.models.registry import (
    AGAINST,
    CHAMPION,
    LEAD,
    LEFT,
    REFUSED,
    RELOAD,
    RETIRED,
    SHADOW,
    WITHDRAWN,
    ChampionChangedError,
    Registry,
    RegistryError,
    Role,
    in_force,
    line_of,
    reigns,
)
from warehouse.settings import Settings

KEY = bytes(range(32))
MINUTE = timedelta(minutes=1)


def test_a_model_is_registered_once_and_reads_back_as_it_was(registry: Registry) -> None:
    row, files = model("aa11")
    assert registry.register(row, files) is True
    assert registry.register(row, files) is False
    assert registry.models() == {"aa11": row}
    assert registry.load("aa11") == files


def test_a_file_that_was_changed_is_no_model(registry: Registry, folder_lake: Settings) -> None:
    registry.register(*model("aa11"))
    digest = sha256(b"trees")
    folder = folder_lake.warehouse.removeprefix("file://")
    with open(f"{folder}/model-files/{folder_lake.namespace}/{digest}", "wb") as file:
        file.write(b"other trees")
    with pytest.raises(ArtefactError, match="not what was put"):
        registry.load("aa11")


def test_files_that_the_row_does_not_name_are_refused(registry: Registry) -> None:
    row, _ = model("aa11")
    with pytest.raises(RegistryError, match="not those"):
        registry.register(row, {"model.onnx": b"something else"})
    assert registry.models() == {}


def test_a_version_may_be_given_by_its_beginning_unless_two_begin_so(registry: Registry) -> None:
    registry.register(*model("aa11"))
    registry.register(*model("aa22", b"more"))
    assert registry.model("aa2").version == "aa22"
    with pytest.raises(RegistryError, match="several"):
        registry.model("aa")
    with pytest.raises(RegistryError, match="no model"):
        registry.model("bb")


def test_a_champion_reigns_from_its_time_until_the_next(registry: Registry) -> None:
    registry.register(*model("aa11"))
    registry.register(*model("bb22", b"more"))
    registry.decide(role("1", "aa11", CHAMPION, NOON + LEAD), NOON)
    registry.decide(role("2", "bb22", CHAMPION, NOON + 10 * MINUTE), NOON)
    at = {minutes: registry.champion("sepsis", NOON + minutes * MINUTE) for minutes in (0, 1, 9, 10)}
    assert {minutes: found and found.version for minutes, found in at.items()} == {
        0: None, 1: "aa11", 9: "aa11", 10: "bb22",
    }  # fmt: skip


def test_a_role_that_would_hold_before_every_stream_knows_is_refused(registry: Registry) -> None:
    registry.register(*model("aa11"))
    with pytest.raises(RegistryError, match="30 s ahead"):
        registry.decide(role("1", "aa11", CHAMPION, NOON + LEAD - timedelta(seconds=1)), NOON)
    assert registry.roles() == []


def test_a_decision_needs_a_registered_model_and_a_reason(registry: Registry) -> None:
    with pytest.raises(RegistryError, match="no model"):
        registry.decide(role("1", "aa11", SHADOW, NOON), NOON)
    registry.register(*model("aa11"))
    from tests.warehouse.models.conftest import later

    with pytest.raises(RegistryError, match="reason"):
        registry.decide(later(role("1", "aa11", SHADOW, NOON), reason="so"), NOON)


def test_a_decision_offered_twice_is_one(registry: Registry) -> None:
    registry.register(*model("aa11"))
    for _ in range(2):
        registry.decide(role("1", "aa11", CHAMPION, NOON + LEAD), NOON)
    assert len(registry.roles()) == 1


def test_who_was_judged_against_a_champion_of_before_takes_nobodys_place(registry: Registry) -> None:
    for version in ("aa11", "bb22", "cc33"):
        registry.register(*model(version, version.encode()))
    registry.decide(role("1", "aa11", CHAMPION, NOON + LEAD), NOON)
    assert registry.heir("sepsis") == "aa11", "it is to come, and whoever is promoted now takes its place"
    late = replace(role("2", "bb22", CHAMPION, NOON + 2 * LEAD), evidence={AGAINST: ""})
    with pytest.raises(ChampionChangedError, match="bb22 was judged against"):
        registry.decide(late, NOON)
    registry.decide(replace(late, evidence={AGAINST: "aa11"}), NOON)
    assert registry.heir("sepsis") == "bb22"
    refused = replace(role("3", "cc33", REFUSED, NOON + 3 * LEAD), evidence={AGAINST: "aa11"})
    assert registry.decide(refused, NOON) == refused


def between_check_and_commit(settings: Settings, act: Callable[[], object]) -> Registry:
    """A register that another process acts on just before its first commit is asked for."""
    catalog = open_catalog(settings)
    Answers(catalog, before=once(lambda: act() and None))
    return Registry(settings, load_contracts(), catalog, "another machine")


def test_of_two_that_were_judged_against_one_champion_at_a_time_one_takes_its_place(
    registry: Registry, folder_lake: Settings
) -> None:
    for version in ("aa11", "bb22"):
        registry.register(*model(version, version.encode()))
    mine, theirs = (
        replace(role(act, version, CHAMPION, NOON + LEAD), evidence={AGAINST: ""})
        for act, version in (("1", "aa11"), ("2", "bb22"))
    )
    late = between_check_and_commit(folder_lake, lambda: registry.decide(theirs, NOON))
    with pytest.raises(ChampionChangedError, match="aa11 was judged against"):
        late.decide(mine, NOON)
    assert registry.roles() == [theirs]


def test_a_decision_that_another_one_does_not_concern_is_written_beside_it(
    registry: Registry, folder_lake: Settings
) -> None:
    for version in ("aa11", "bb22"):
        registry.register(*model(version, version.encode()))
    shadow = role("1", "bb22", SHADOW, NOON)
    mine = replace(role("2", "aa11", CHAMPION, NOON + LEAD), evidence={AGAINST: ""})
    late = between_check_and_commit(folder_lake, lambda: registry.decide(shadow, NOON))
    assert late.decide(mine, NOON) == mine
    assert registry.roles() == [shadow, mine]
    assert registry.decide(mine, NOON) == mine, "offered again it is found, though it is the champion by now"
    assert len(registry.roles()) == 2


@pytest.mark.parametrize("kind", [CHAMPION, RETIRED])
def test_going_back_from_a_champion_that_reigns_no_more_is_refused(
    kind: str, registry: Registry, folder_lake: Settings
) -> None:
    for version in ("aa11", "bb22", "cc33"):
        registry.register(*model(version, version.encode()))
    registry.decide(role("1", "aa11", CHAMPION, NOON + LEAD), NOON)
    registry.decide(role("2", "bb22", CHAMPION, NOON + 2 * LEAD), NOON)
    better = role("3", "cc33", CHAMPION, NOON + 3 * LEAD)
    late = between_check_and_commit(folder_lake, lambda: registry.decide(better, NOON))
    back = replace(role("4", "aa11", kind, NOON + 4 * LEAD), evidence={LEFT: "bb22"})
    with pytest.raises(ChampionChangedError, match="bb22 was to be left and reigns no more"):
        late.decide(back, NOON)
    assert registry.heir("sepsis") == "cc33"
    back = replace(back, evidence={LEFT: "cc33"})
    assert registry.decide(back, NOON) == back


def test_a_list_of_people_is_put_with_the_row_that_names_it_or_not_at_all(registry: Registry) -> None:
    row, files = model("aa11")
    people = b"sealed"
    with pytest.raises(RegistryError, match="not those"):
        registry.register(row, files, people)
    with pytest.raises(ArtefactError):
        registry.files.get(sha256(people))
    registry.register(replace(row, learnt_from=sha256(people)), files, people)
    assert registry.files.get(registry.model("aa11").learnt_from) == people


def back_from(version: str, to: str, act: str, at: datetime) -> Role:
    return replace(role(act, to, CHAMPION, at), evidence={"from": version})


def test_going_back_takes_a_reign_away_and_never_leads_forth_again() -> None:
    promoted = [role("1", "aa11", CHAMPION, NOON), role("2", "bb22", CHAMPION, NOON + MINUTE)]
    assert [each.version for each in reigns(promoted, "sepsis")] == ["aa11", "bb22"]
    gone_back = [*promoted, back_from("bb22", "aa11", "3", NOON + 2 * MINUTE)]
    assert [each.version for each in reigns(gone_back, "sepsis")] == ["aa11"]
    again = [*gone_back, role("4", "bb22", CHAMPION, NOON + 3 * MINUTE)]
    assert [each.version for each in reigns(again, "sepsis")] == ["aa11", "bb22"]
    retired = [*gone_back, replace(role("4", "aa11", RETIRED, NOON + 3 * MINUTE), evidence={"from": "aa11"})]
    assert reigns(retired, "sepsis") == []


def test_what_is_given_holds_from_ahead_of_the_moment_it_is_given(registry: Registry) -> None:
    registry.register(*model("aa11"))
    given = registry.give("sepsis", "aa11", CHAMPION, "better by far", {}, "test", NOON)
    assert given.in_force_at == NOON + LEAD + RELOAD
    assert registry.roles() == [given]


def test_a_retired_champion_gives_way_to_the_built_in_model() -> None:
    roles = [role("1", "aa11", CHAMPION, NOON), role("2", "aa11", RETIRED, NOON + MINUTE)]
    assert in_force(roles, "sepsis", CHAMPION, NOON + MINUTE) is None
    assert in_force(roles, "sepsis", CHAMPION, NOON) is not None


def test_who_reigns_does_not_depend_on_the_order_of_rows() -> None:
    roles = [
        role("1", "aa11", CHAMPION, NOON), role("2", "bb22", REFUSED, NOON + MINUTE),
        role("3", "cc33", CHAMPION, NOON + 2 * MINUTE), role("4", "bb22", SHADOW, NOON + MINUTE),
    ]  # fmt: skip
    for order in permutations(roles):
        found = in_force(order, "sepsis", CHAMPION, NOON + 3 * MINUTE)
        assert found is not None
        assert found.version == "cc33"
        shadow = in_force(order, "sepsis", SHADOW, NOON + 3 * MINUTE)
        assert shadow is not None
        assert shadow.version == "bb22"


def test_whom_a_model_learned_from_opens_only_with_the_key_and_for_that_model(registry: Registry) -> None:
    sealed = seal_people(KEY, "aa11", ["tokenb", "tokena", "tokena"])
    assert open_people(KEY, "aa11", sealed) == {"tokena", "tokenb"}
    assert b"token" not in sealed
    for key, version in ((bytes(32), "aa11"), (KEY, "bb22")):
        with pytest.raises(SealError):
            open_people(key, version, sealed)


def test_an_erasure_learns_which_models_knew_a_person(registry: Registry) -> None:
    from dataclasses import replace

    for version, tokens in (("aa11", ["tokena", "tokenb"]), ("bb22", ["tokenc"])):
        row, files = model(version, version.encode())
        put = registry.files.put(seal_people(KEY, version, tokens))
        registry.register(replace(row, learnt_from=put), files)
    assert models_that_knew(registry, KEY, ["tokenb", "nobody"]) == {"aa11": {"tokenb"}}
    assert models_that_knew(registry, KEY, ["nobody"]) == {}


def test_in_the_place_of_a_withdrawn_model_stands_its_successor_from_the_beginning() -> None:
    def withdrawn(act: str, version: str, successor: str) -> Role:
        gone = role(act, version, WITHDRAWN, NOON + 9 * MINUTE)
        return replace(gone, evidence={"successor": successor})

    reign = [role("1", "aa11", CHAMPION, NOON), role("2", "bb22", CHAMPION, NOON + MINUTE)]
    for gone, versions in (
        ([withdrawn("3", "aa11", "cc33")], ["cc33", "bb22"]),
        ([withdrawn("3", "aa11", "cc33"), withdrawn("4", "cc33", "dd44")], ["dd44", "bb22"]),
        ([withdrawn("3", "aa11", "")], ["", "bb22"]),
        ([withdrawn("3", "bb22", "cc33")], ["aa11", "cc33"]),
    ):
        assert [version for _, version in line_of([*reign, *gone], "sepsis")] == versions
        found = in_force([*gone, *reign], "sepsis", CHAMPION, NOON)
        assert (found.version if found else "") == versions[0]
