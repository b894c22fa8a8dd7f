"""The stream takes a promotion without a restart, at its append time, and never waits for the register."""

from __future__ import annotations

from pipelines.model_source import BUILT_IN, RegisteredModels
from tests.pipelines.clinical.sepsis.toy_model import ToyModel


class Register:
    """A register of the tests: what it says, and whether it answers."""

    def __init__(self) -> None:
        self.line: list[tuple[int, str]] = []
        self.down = False
        self.lost: set[str] = set()
        self.loads = 0

    def read(self) -> list[tuple[int, str]]:
        if self.down:
            raise OSError("no answer")
        return self.line

    def load(self, version: str) -> ToyModel:
        self.loads += 1
        if self.down or version in self.lost:
            raise OSError("no answer")
        return ToyModel(version)


def source(register: Register) -> RegisteredModels:
    return RegisteredModels(ToyModel("built in"), register.read, register.load)


def test_the_built_in_model_scores_until_there_is_another() -> None:
    models = source(Register())
    models.poll()
    assert models.in_force(10**12).version == "built in"


def test_a_promotion_holds_from_its_append_time_and_not_before() -> None:
    register = Register()
    models = source(register)
    models.in_force(900)
    register.line = [(1000, "b")]
    models.poll()
    assert [models.in_force(at).version for at in (999, 1000, 1001, 999)] == ["built in", "b", "b", "built in"]


def test_one_lost_model_takes_no_other_out_of_force() -> None:
    register = Register()
    models = source(register)
    register.line, register.lost = [(1000, "b"), (2000, "c"), (3000, "d")], {"b", "d"}
    models.poll()
    assert [models.in_force(at).version for at in (1500, 2500, 3500)] == ["built in", "c", "c"]
    assert "model d cannot be loaded" in models.trouble
    register.lost = set()
    models.poll()
    assert [models.in_force(at).version for at in (3500, 3501)] == ["c", "d"]
    assert models.trouble == ""


def test_a_rollback_is_another_change_and_a_model_is_loaded_once() -> None:
    register = Register()
    models = source(register)
    register.line = [(1000, "b"), (2000, "c"), (3000, "b"), (4000, BUILT_IN)]
    for _ in range(3):
        models.poll()
    assert [models.in_force(at).version for at in (1500, 2500, 3500, 4500)] == ["b", "c", "b", "built in"]
    assert register.loads == 2


def test_a_promotion_that_is_learnt_of_late_changes_nothing_that_was_decided() -> None:
    register = Register()
    models = source(register)
    models.in_force(1500)
    register.line = [(1000, "b")]
    models.poll()
    assert models.in_force(1200).version == "built in"
    assert models.in_force(1500).version == "built in"
    assert models.in_force(1501).version == "b"
    models.poll()
    assert models.in_force(1501).version == "b"


def test_a_register_that_does_not_answer_leaves_the_model_and_says_so() -> None:
    register = Register()
    register.line = [(1000, "b")]
    models = source(register)
    models.poll()
    register.down = True
    models.poll()
    assert models.in_force(2000).version == "b"
    assert "OSError" in str(models.said()["trouble"])
    register.down = False
    models.poll()
    assert models.said()["trouble"] == ""


def test_a_model_whose_files_cannot_be_had_does_not_displace_the_champion() -> None:
    register = Register()
    models = source(register)
    register.line = [(1000, "b")]
    register.load = lambda version: (_ for _ in ()).throw(OSError("gone"))  # type: ignore[method-assign]
    models = RegisteredModels(ToyModel("built in"), register.read, register.load)
    models.poll()
    assert models.in_force(2000).version == "built in"
    assert models.said()["trouble"] != ""


def test_what_is_coming_is_said() -> None:
    register = Register()
    register.line = [(1000, "b")]
    models = source(register)
    models.in_force(10)
    models.poll()
    assert models.said() == {"model": "toy@built in", "coming": ["toy@b"], "trouble": ""}


def test_a_withdrawn_model_gives_its_place_to_another_and_stays_in_no_memory() -> None:
    register = Register()
    register.line = [(1000, "old"), (3000, "next")]
    models = source(register)
    models.poll()
    assert models.in_force(4000).version == "next"
    register.line = [(1000, "new"), (3000, "next")]
    models.poll()
    assert [models.in_force(at).version for at in (999, 1500, 3500)] == ["built in", "new", "next"]
    assert "old" not in models._loaded
    register.line = [(1000, BUILT_IN), (3000, "next")]
    models.poll()
    assert [models.in_force(at).version for at in (1500, 3500)] == ["built in", "next"]
