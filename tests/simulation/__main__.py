"""`python -m tests.simulation --steps 1000000 --seed 1`: the long form, and the way to see a failure again.

Holds: arguments, progress, the table of counts, and the last line: lost=0 doubled=0 wrong=0 where nothing was amiss.
Does not hold: the simulation.
"""

from __future__ import annotations

import argparse
import sys
import time
import traceback

from tests.simulation.machine import Engine, Played, SimulationFailed, play


def main() -> int:
    arguments = _arguments()
    if arguments.trace:
        return _traced(arguments.seed, arguments.last)
    try:
        played = play(arguments.seed, arguments.steps, arguments.seconds, _tell)
    except SimulationFailed as failure:
        traceback.print_exception(failure)
        _report(arguments.seed, failure.played)
        return 1
    _report(arguments.seed, played)
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="of the first world; the next has the next number")
    parser.add_argument("--steps", type=int, default=1_000_000, help="requests answered and events, in all")
    parser.add_argument("--seconds", type=float, default=1200.0, help="no world begins after so many")
    parser.add_argument("--trace", action="store_true", help="one world only, its last turns printed")
    parser.add_argument("--last", type=int, default=60, help="how many turns --trace prints")
    return parser.parse_args()


def _traced(seed: int, last: int) -> int:
    engine = Engine(seed)
    engine.world.trace = []
    print(engine.world.circumstances, engine.weather, sep="\n")
    try:
        end = engine.run()
    except Exception:
        print(*engine.world.trace[-last:], sep="\n")
        traceback.print_exc()
        return 1
    print(f"ended: {end or 'all in'}; {engine.world.steps} steps")
    return 0


def _tell(played: Played) -> None:
    if played.worlds % 20 == 0:
        rate = played.steps / max(played.seconds, 0.001)
        print(f"{played.worlds} worlds, {played.steps} steps, {rate:.0f} a second", file=sys.stderr, flush=True)


def _report(seed: int, played: Played) -> None:
    """What happened, and in the last line what came of it."""
    for name, n in sorted(played.counts.items()):
        print(f"{n:>10}  {name}")
    for end, n in sorted(played.ends.items()):
        print(f"{n:>10}  worlds ended: {end}")
    print(
        f"lost={played.lost} doubled={played.doubled} wrong={played.ends['wrong']} steps={played.steps} "
        f"worlds={played.worlds} seeds={seed}..{seed + played.worlds - 1} turns={played.turns} "
        f"commits={played.landings} rows_compared={played.compared} seconds={played.seconds:.0f} "
        f"cpu_seconds={time.process_time():.0f}",
        flush=True,
    )


if __name__ == "__main__":
    sys.exit(main())
