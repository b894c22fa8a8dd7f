"""`python -m infra.simulator ward|stays`: play into Kafka from a shell. The wall clock enters only here."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import threading
import time
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

from infra.loaders import physionet
from infra.loaders.loaded import SourceMissingError
from infra.simulator.ledger import Ledger
from infra.simulator.player import Pace, Player
from infra.simulator.script import expected_alerts, plan_ward
from infra.simulator.ward import VITALS, Event, play_ward


def main(arguments: list[str] | None = None) -> int:
    """Exit code 0 when all was sent and acknowledged, 1 when some was not, 2 when the input is absent."""
    args = _parse(arguments)
    try:
        events, heading = (_ward if args.command == "ward" else _stays)(args)
    except SourceMissingError as error:
        print(error, file=sys.stderr)
        return 2
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    ledger = Ledger(args.ledger, {"stream": VITALS, "topic": args.topic, **heading})
    pace = Pace(args.speed, args.rate)
    player = Player({"bootstrap.servers": args.bootstrap}, args.topic, ledger, pace, time.time, time.sleep)
    receipt = player.play(events, stop.is_set)
    print(json.dumps(asdict(receipt)))
    return 0 if receipt.completed and receipt.ok == receipt.planned else 1


def _ward(args: argparse.Namespace) -> tuple[Iterable[Event], dict]:
    start_ms = int((time.time() - args.started_ago) * 1000) if args.start_ms is None else args.start_ms
    duration_ms = int(args.duration * 1000)
    script = plan_ward(args.seed, start_ms, duration_ms, args.patients)
    heading = {
        "title": f"ward seed={args.seed} patients={args.patients} start_ms={start_ms} duration_ms={duration_ms}",
        "expected_alerts": [asdict(alert) for alert in expected_alerts(script)],
    }
    return play_ward(args.seed, start_ms, duration_ms, args.patients), heading


def _stays(args: argparse.Namespace) -> tuple[Iterable[Event], dict]:
    stays = physionet.load_stays(args.file, args.stays)
    heading = {"title": f"PhysioNet 2019 set A, {args.stays} stays", "expected_alerts": []}
    events = physionet.play_stays(stays, int(time.time() * 1000))
    return (event for event in events if event.stream == VITALS), heading


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m infra.simulator", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    ward = commands.add_parser("ward", help="a seeded ward")
    ward.add_argument("--seed", type=int, default=7)
    ward.add_argument("--patients", type=int, default=24)
    ward.add_argument("--duration", type=float, default=7200, help="ward time in seconds")
    ward.add_argument("--started-ago", type=float, default=7200, help="the ward's clock starts this many seconds ago")
    ward.add_argument("--start-ms", type=int, help="or at this instant, milliseconds since 1970 UTC")
    stays = commands.add_parser("stays", help="the vitals of PhysioNet 2019 stays (all of it: wardstream replay)")
    stays.add_argument("--file", type=Path, required=True, help="training_setA.parquet")
    stays.add_argument("--stays", type=int, default=500)
    for command in (ward, stays):
        command.add_argument("--bootstrap", required=True, help="Kafka bootstrap servers")
        command.add_argument("--topic", required=True)
        command.add_argument("--ledger", type=Path, required=True, help="a new file")
        command.add_argument("--speed", type=float, help="ward seconds a second; unpaced without it")
        command.add_argument("--rate", type=float, help="most messages a second")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
