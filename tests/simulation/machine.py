"""Who is given the next turn, how requests are answered, and what else happens: by a seed, or by hypothesis.

Holds: the seeded engine for millions of steps, which draws for each world a weather of its own (some faults often, some
never), and the same world as a hypothesis state machine, which shrinks what it finds.
Does not hold: what an event does (world.py), nor what is right (judge.py).
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from tests.simulation.process import INGESTED, Process
from tests.simulation.turns import Task
from tests.simulation.world import ANSWERS, OUTAGE, REQUESTS, Circumstances, StandIns, World, drawn, installed

WORLD_STEPS = 2_500
REAL_EVERY = 25
"""One world in so many writes real Parquet and Avro."""

RATES = (0.0, 0.0, 0.02, 0.1, 0.3)


class SimulationFailed(AssertionError):
    """A world went wrong; the text says how to see it again, `played` what had been played, that world included."""

    def __init__(self, text: str, played: Played) -> None:
        super().__init__(text)
        self.played = played


@dataclass(slots=True)
class Weather:
    """How often each kind of thing happens in one world. `answers`: chance of each wrong answer to a request;
    `events`: weight of each event beside a turn."""

    answers: dict[str, float]
    events: dict[str, float]
    outage: float

    @classmethod
    def drawn(cls, chance: random.Random) -> Weather:
        """Each kind of fault is off in half of the worlds, so that the others have their time."""
        answers = {kind: chance.choice(RATES) for kind in ANSWERS}
        often = {name: chance.choice((0.0, 0.5, 1.0)) * weight for name, weight in EVENTS.items()}
        often |= {name: weight for name, weight in EVENTS.items() if name in ALWAYS}
        rare = chance.choice((*RARE, *[None] * 12))
        return cls(answers, often | ({rare: RARE[rare]} if rare else {}), chance.choice((0.0, 0.0, 0.001)))


ALWAYS = ("send", "resume")
EVENTS: dict[str, float] = {
    "send": 2.0,
    "resume": 1.0,
    "kill": 0.3,
    "pause": 0.5,
    "drain": 0.1,
    "hand-over": 0.2,
    "time": 0.3,
    "clock": 0.1,
    "late": 0.5,
    "rollback": 0.05,
    "expiry": 0.3,
    "compaction with vector": 0.3,
    "compaction without vector": 0.1,
    "tag": 0.05,
    "retention": 0.2,
    "log compaction": 0.1,
    "topic recreated": 0.02,
}
RARE: dict[str, float] = {"retention overtakes": 0.05, "partition added": 0.05, "vector lost": 0.05}
"""After these the site stops sooner or later: a world has at most one kind of them."""
EVENT_SHARE = 0.04
"""Events beside turns, where turns are not kept."""


class Engine:
    """One world run by a seed."""

    def __init__(
        self,
        seed: int,
        steps: int = WORLD_STEPS,
        real_files: bool | None = None,
        mutant: Callable[[World], StandIns] = lambda world: (),
    ) -> None:
        self.seed, self._steps, self._mutant = seed, steps, mutant
        self.chance = random.Random(seed)
        real = seed % REAL_EVERY == 0 if real_files is None else real_files
        self.world = World(drawn(self.chance, real), self.chance.getrandbits(64))
        self.weather = Weather.drawn(self.chance)
        self._outage_until = 0.0
        self._kept_share = self.chance.choice((0.3, 0.8, 0.9, 0.95))

    def run(self) -> str:
        """Play, heal, judge: "" or why the site stands still. Raises what the judge says."""
        with installed(self.world, self._mutant(self.world)):
            self.world.begin()
            self.world.turns.keep = self._kept
            while self.world.steps < self._steps:
                self._next()
            return self.world.settle(self.chance)

    def _next(self) -> None:
        world, chance = self.world, self.chance
        world.restart_due()
        if chance.random() < min(0.3, EVENT_SHARE / (1 - self._kept_share)):
            return self._event()
        tasks = world.runnable()
        if not tasks:
            return world.idle()
        task = chance.choice(tasks)
        return world.give(task, self._answer(task.wait.kind))

    def _kept(self, task: Task) -> str | None:
        """Most turns go to the task that had the last one, more in some worlds than in others."""
        world = self.world
        if task.wait.kind not in REQUESTS or world.judge.wrong or world.steps >= self._steps:
            return None
        if self.chance.random() >= self._kept_share:
            return None
        answer = self._answer(task.wait.kind)
        world.note(task, answer)
        return answer

    def _answer(self, kind: str) -> str:
        if kind not in ANSWERS:
            return "ok"
        if self.world.turns.now < self._outage_until:
            return OUTAGE[kind]
        if self.chance.random() < self.weather.outage:
            self.world.happened("outage")
            self._outage_until = self.world.turns.now + self.chance.choice((2, 20, 120))
        if self.chance.random() < 0.02:
            self.world.pass_time(self.chance.choice((0.5, 5.0, 15.0)))
        if self.chance.random() < self.weather.answers[kind]:
            return self.chance.choice(ANSWERS[kind])
        return "ok"

    def _event(self) -> None:
        names, weights = zip(*self.weather.events.items(), strict=True)
        happen(self.world, self.chance.choices(names, weights)[0], self.chance)


def happen(world: World, name: str, chance: random.Random) -> None:
    """One event, its particulars drawn."""
    table, partition = chance.choice(INGESTED), chance.randrange(3)
    process = chance.choice(world.processes)
    acts: dict[str, Callable[[], None]] = {
        "send": lambda: world.send(partition, chance.randint(1, 30)),
        "resume": lambda: _resume(world, chance),
        "kill": lambda: world.kill(process) if process.alive else None,
        "pause": lambda: world.pause(process) if process.alive else None,
        "drain": lambda: world.drain(process),
        "hand-over": lambda: world.hand_over(process, partition),
        "time": lambda: world.pass_time(chance.choice((1.0, 10.0, 100.0))),
        "clock": lambda: world.set_clock(process, chance.choice((0.0, -3600.0, 3600.0, -86_400.0))),
        "late": world.arrive_late,
        "rollback": lambda: world.roll_back(table, chance.randint(1, 5)),
        "expiry": lambda: world.expire(table, chance.randint(1, 4)),
        "compaction with vector": lambda: world.rewrite(table, True),
        "compaction without vector": lambda: world.rewrite(table, False),
        "tag": lambda: world.tag(table),
        "retention": lambda: world.retain(partition, 0),
        "retention overtakes": lambda: world.retain(partition, chance.randint(1, 20)),
        "log compaction": lambda: world.compact(partition),
        "topic recreated": world.recreate_topic,
        "partition added": world.add_partition,
        "vector lost": lambda: world.lose_vector(table),
    }
    acts[name]()


def _resume(world: World, chance: random.Random) -> None:
    paused: list[Process] = [process for process in world.processes if process.paused]
    if paused:
        world.resume(chance.choice(paused))


class Site(RuleBasedStateMachine):
    """The same world in hypothesis' hands: it chooses each turn, each answer and each event, and shrinks them."""

    def __init__(self) -> None:
        super().__init__()
        self._around = ExitStack()
        self.world: World

    @initialize(
        partitions=st.integers(1, 2), processes=st.integers(1, 2), metastore=st.booleans(), seed=st.integers(0, 1 << 32)
    )
    def begin(self, partitions: int, processes: int, metastore: bool, seed: int) -> None:
        circumstances = Circumstances(partitions, (None,) * processes, metastore, commit_rows=5, derives=False)
        self.world = World(circumstances, seed)
        self._around.enter_context(installed(self.world))
        self.world.begin()
        self.world.send(0, 5)

    @rule(which=st.integers(0, 11), wrong=st.integers(-6, 3), turns=st.integers(1, 20))
    def turns(self, which: int, wrong: int, turns: int) -> None:
        """Some turns of one task; the last request of them may be answered wrongly."""
        for left in reversed(range(turns)):
            tasks = self.world.runnable()
            if not tasks:
                return self.world.idle()
            task = tasks[which % len(tasks)]
            answers = ANSWERS.get(task.wait.kind, ())
            self.world.give(task, answers[wrong] if not left and 0 <= wrong < len(answers) else "ok")
            self.world.restart_due()
        return None

    @rule(name=st.sampled_from([name for name in EVENTS if name != "topic recreated"]), seed=st.integers(0, 1000))
    def event(self, name: str, seed: int) -> None:
        happen(self.world, name, random.Random(seed))

    def teardown(self) -> None:
        with self._around:
            if hasattr(self, "world"):
                self.world.settle(random.Random(0))


@dataclass(slots=True)
class Played:
    """What a run of many worlds did."""

    worlds: int = 0
    steps: int = 0
    turns: int = 0
    landings: int = 0
    compared: int = 0
    lost: int = 0
    doubled: int = 0
    seconds: float = 0.0
    ends: Counter[str] = field(default_factory=Counter)
    counts: Counter[str] = field(default_factory=Counter)

    def add(self, world: World, end: str) -> None:
        self.worlds += 1
        self.steps += world.steps
        self.turns += world.turns_given
        self.landings += world.judge.landings
        self.compared += world.judge.compared
        self.lost += world.judge.lost
        self.doubled += world.judge.doubled
        self.ends[end or "all in"] += 1
        self.counts += world.counts


def play(seed: int, steps: int, seconds: float, tell: Callable[[Played], None] = lambda played: None) -> Played:
    """World after world, seeds rising from `seed`, until so many steps or seconds. Raises `SimulationFailed`."""
    played, began = Played(), time.monotonic()
    while played.steps < steps and played.seconds < seconds:
        engine = Engine(seed + played.worlds)
        try:
            played.add(engine.world, engine.run())
        except Exception as error:
            played.add(engine.world, "wrong")
            raise SimulationFailed(
                f"seed {engine.seed}, step {engine.world.steps}: {type(error).__name__}: {error}\n"
                f"again: .venv/bin/python -m tests.simulation --seed {engine.seed} --trace",
                played,
            ) from error
        played.seconds = time.monotonic() - began
        tell(played)
    return played
