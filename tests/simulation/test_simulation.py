"""The simulation's short form, and that it sees what it is there to see."""

from __future__ import annotations

import random

import hypothesis
import pytest

from tests.simulation.machine import Engine, SimulationFailed, Site, play
from tests.simulation.mutants import MUTANTS
from tests.simulation.process import ROWS
from tests.simulation.world import Circumstances, World, installed

CAUGHT_WITHIN = 60_000
"""Steps, over worlds of rising seeds."""
FIRST_SEED = {
    "with old heads believed": 7,
    "with the way to a vector let go": 7,
    "with files kept over a sweep": 73,
    "without a sweep s fence": 7,
}
"""Where to begin, for what few worlds bring about; 1 for all others."""


def test_nothing_is_lost_or_doubled_whatever_the_seed_brings() -> None:
    played = play(seed=1, steps=8_000, seconds=60)
    assert played.landings > 100


def test_real_parquet_and_avro_hold_as_well() -> None:
    engine = Engine(3, steps=500, real_files=True)
    engine.run()
    assert engine.world.judge.compared > 100


def test_a_world_is_played_again_by_its_seed() -> None:
    traces = []
    for _ in range(2):
        engine = Engine(5, steps=600)
        engine.world.trace = []
        engine.run()
        traces.append(engine.world.trace)
    assert traces[0] == traces[1]


@pytest.mark.parametrize("name", MUTANTS)
def test_a_broken_build_is_caught(name: str) -> None:
    steps, seed = 0, FIRST_SEED.get(name, 1)
    while steps < CAUGHT_WITHIN:
        engine = Engine(seed, mutant=MUTANTS[name], real_files=False)
        try:
            engine.run()
        except Exception as wrong:
            print(f"{name}: seed {seed}, after {steps + engine.world.steps} steps: {wrong}")
            return
        steps, seed = steps + engine.world.steps, seed + 1
    pytest.fail(f"{name}: not caught within {steps} steps")


def test_a_failure_names_its_seed_and_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(engine: Engine) -> str:
        raise AssertionError("lost")

    monkeypatch.setattr(Engine, "run", broken)
    with pytest.raises(SimulationFailed, match=r"python -m tests\.simulation --seed 7 --trace"):
        play(seed=7, steps=100, seconds=10)


def calm_world(**kind: object) -> World:
    return World(Circumstances(1, (None,), **{"derives": False, **kind}), seed=1)


def go_on(world: World, turns: int) -> None:
    chance = random.Random(1)
    for _ in range(turns):
        tasks = world.runnable()
        if tasks:
            world.give(chance.choice(tasks))
        else:
            world.idle()


def test_stale_reads_do_no_harm() -> None:
    world = calm_world()
    with installed(world):
        world.begin()
        for n in range(20):
            world.send(0, 10)
            world.tables.faults.stale_reads = n % 2 == 0
            go_on(world, 60)
        world.tables.faults.stale_reads = False
        assert world.settle(random.Random(1)) == ""


def test_a_topic_made_anew_with_more_partitions_is_read_to_its_ends() -> None:
    world = World(Circumstances(2, ((0,), (1,)), derives=False), seed=1)
    with installed(world):
        world.begin()
        world.add_partition()
        world.recreate_topic()
        world.send(2, 20)
        assert world.settle(random.Random(1)) == ""


def test_a_lost_vector_stops_the_stream_and_nothing_is_guessed() -> None:
    world = calm_world()
    with installed(world):
        world.begin()
        world.send(0, 20)
        go_on(world, 400)
        world.lose_vector(ROWS)
        world.send(0, 20)
        assert world.settle(random.Random(1)) == "vector lost"
    assert world.counts["stopped: VectorMissingError: vector lost"] >= 1


def test_an_overtaken_reader_stops_and_says_so() -> None:
    world = calm_world()
    with installed(world):
        world.begin()
        world.send(0, 20)
        go_on(world, 400)
        world.kill(world.processes[0])
        world.send(0, 20)
        world.retain(0, 10)
        assert world.settle(random.Random(1)) == "retention overtook"


Site.TestCase.settings = hypothesis.settings(max_examples=8, stateful_step_count=40, deadline=None, database=None)
TestSite = Site.TestCase
