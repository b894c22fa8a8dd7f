"""A dead process's partitions are taken over, a living one's are not, and who comes back gets its own again."""

from __future__ import annotations

from pipelines.ownership import BEAT_S, LAPSE_S, LeaseWatch, Ownership
from warehouse.coordination import Coordination, CoordinationUnavailableError, Lease


class _Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


class _Process:
    """An `Ownership` driven by hand."""

    def __init__(self, uri: str, name: str, home: set[int], clock: _Clock) -> None:
        self.coordination = Coordination(uri, "s", name)
        self.ownership = Ownership(self.coordination, home, range(4), clock)

    def start(self) -> _Process:
        self.ownership._turn(at_start=True)
        return self

    def beat(self) -> None:
        self.ownership._turn()

    @property
    def reads(self) -> set[int]:
        return set(self.ownership.home | self.ownership.stand_in)


def _two(tmp_path) -> tuple[_Process, _Process, _Clock]:
    clock, uri = _Clock(), f"sqlite:///{tmp_path}/c.sqlite"
    one, two = _Process(uri, "one", {0, 1}, clock).start(), _Process(uri, "two", {2, 3}, clock).start()
    return one, two, clock


def _pass(clock: _Clock, seconds: float, *living: _Process) -> None:
    for _ in range(int(seconds / BEAT_S)):
        clock.now += BEAT_S
        for process in living:
            process.beat()


def test_living_processes_read_what_they_were_given(tmp_path) -> None:
    one, two, clock = _two(tmp_path)
    _pass(clock, 60, one, two)
    assert (one.reads, two.reads) == ({0, 1}, {2, 3})


def test_the_partitions_of_a_dead_process_are_read_by_the_living_one(tmp_path) -> None:
    one, two, clock = _two(tmp_path)
    _pass(clock, 10, one, two)
    _pass(clock, LAPSE_S + 2 * BEAT_S, one)
    assert one.ownership.home == {0, 1}
    assert one.ownership.stand_in == {2, 3}


def test_who_comes_back_gets_its_partitions_at_once_and_the_other_lets_go(tmp_path) -> None:
    one, two, clock = _two(tmp_path)
    _pass(clock, LAPSE_S + 2 * BEAT_S, one)
    two.start()
    assert two.reads == {2, 3}
    one.beat()
    assert one.reads == {0, 1}


def test_a_process_that_was_paused_learns_that_others_read_for_it_and_takes_its_own_back(tmp_path) -> None:
    one, two, clock = _two(tmp_path)
    _pass(clock, 60, one)
    two.beat()
    one.beat()
    assert (one.reads, two.reads) == ({0, 1}, {2, 3})


def test_of_two_with_one_home_the_second_stands_by_until_the_first_is_dead(tmp_path) -> None:
    clock, uri = _Clock(), f"sqlite:///{tmp_path}/c.sqlite"
    one, two = _Process(uri, "one", {0, 1, 2, 3}, clock).start(), _Process(uri, "two", {0, 1, 2, 3}, clock).start()
    _pass(clock, 60, one, two)
    assert (one.reads, two.reads) == ({0, 1, 2, 3}, set())
    assert two.ownership.elsewhere == dict.fromkeys(range(4), "one")
    _pass(clock, LAPSE_S + 2 * BEAT_S, two)
    assert two.reads == {0, 1, 2, 3}
    one.beat()
    assert one.reads == set()


def test_a_restart_finds_its_leases_its_own(tmp_path) -> None:
    clock, uri = _Clock(), f"sqlite:///{tmp_path}/c.sqlite"
    _Process(uri, "one", {0}, clock).start()
    assert _Process(uri, "one", {0}, clock).start().reads >= {0}


def test_partitions_that_nobody_ever_claimed_are_read_after_a_while(tmp_path) -> None:
    clock = _Clock()
    one = _Process(f"sqlite:///{tmp_path}/c.sqlite", "one", {0}, clock).start()
    assert one.reads == {0}
    _pass(clock, LAPSE_S + BEAT_S, one)
    assert one.reads == {0, 1, 2, 3}


def test_without_the_database_a_start_reads_what_it_was_given(tmp_path) -> None:
    (tmp_path / "file").write_text("")
    one = _Process(f"sqlite:///{tmp_path}/file/c.sqlite", "one", {0, 1}, _Clock()).start()
    assert one.reads == {0, 1}
    assert one.ownership.trouble


def test_when_the_database_falls_silent_a_process_keeps_what_it_has(tmp_path, monkeypatch) -> None:
    one, _, _ = _two(tmp_path)

    def silent() -> dict[int, Lease]:
        raise CoordinationUnavailableError("away")

    monkeypatch.setattr(one.coordination, "leases", silent)
    one.beat()
    assert one.reads == {0, 1}


def test_a_clock_that_jumped_back_makes_no_lease_lapse(tmp_path) -> None:
    """Only the watcher's own monotonic clock is used; what the owner's clock says stands nowhere."""
    clock = _Clock()
    watch = LeaseWatch("two", {2}, range(3), clock)
    leases = {0: Lease("one", 1, True), 1: Lease("one", 1, True), 2: Lease("two", 1, True)}
    assert watch.judge(leases).claims == {}
    clock.now += LAPSE_S / 2
    assert watch.judge({**leases, 0: Lease("one", 2, True)}).claims == {}
    clock.now += LAPSE_S / 2
    assert set(watch.judge({**leases, 0: Lease("one", 2, True)}).claims) == {1}
