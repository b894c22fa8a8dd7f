"""`wardstream replay FILE|TOPIC`: messages of a file, of public data, or of another topic into the streams' topics.

Holds: the reading of JSON lines and of a topic, the choice of a loader, and what is printed.
Does not hold: the loaders (`infra/loaders`), the sending itself (`sending`).

A line of a file is `{"stream":…,"key":…,"value":…}`: the key as text; the value an object (sent as compact JSON), text
(sent as it is) or null (a tombstone). What is sent twice is harmless within the contract's horizon: event ids tell.

Exit codes: 0 all sent and acknowledged, 1 refused or not all acknowledged, 2 nothing to read or no broker, 130 Ctrl-C.
"""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from infra.cli import sending
from infra.cli.reach import unreachable
from infra.cli.sending import NotReachableError, NotSentError, Sent

if TYPE_CHECKING:
    from infra.loaders.loaded import Loaded
    from infra.simulator.ward import Event
    from warehouse.settings import Settings

SENT, REFUSED, UNAVAILABLE, INTERRUPTED = 0, 1, 2, 130
SOURCES = ("physionet", "mimic", "cgm", "icu")
SILENCE_S = 60.0


@dataclass(frozen=True, slots=True)
class Replay:
    """What is to be sent. `loaded` is the source it comes from, where a loader reads it."""

    events: Iterable[Event]
    loaded: Loaded | None = None


def replay(
    settings: Settings,
    source: str,
    *,
    as_source: str | None = None,
    into: str | None = None,
    unread: bool = False,
    stays: int | None = None,
    rate: float | None = None,
    speed: float | None = None,
    ledger: Path | None = None,
    dry_run: bool = False,
    as_json: bool = False,
) -> int:
    """Send a source; with `dry_run` read it to its end and send nothing. Returns the exit code."""
    from infra.loaders.loaded import SourceMissingError

    began = time.monotonic()
    try:
        found = _found(settings, source, as_source, into, unread, stays)
        if dry_run:
            sent = Sent(Counter(event.stream for event in found.events))
        else:
            sent = sending.sender(settings, rate=rate, speed=speed, ledger=ledger, quiet=as_json)(found.events)
    except (NotSentError, FileExistsError) as error:
        return _tell(str(error), REFUSED)
    except (SourceMissingError, NotReachableError) as error:
        return _tell(str(error), UNAVAILABLE)
    except KeyboardInterrupt:
        return INTERRUPTED
    _conclude(found, sent, time.monotonic() - began, dry_run, as_json)
    if not sent.completed:
        return INTERRUPTED
    return REFUSED if sent.unacknowledged else SENT


def _found(
    settings: Settings, source: str, as_source: str | None, into: str | None, unread: bool, stays: int | None
) -> Replay:
    topics = sending.topics_of(settings)
    if as_source is not None:
        loaded = load(as_source, Path(source), int(time.time() * 1000), stays)
        return Replay(loaded.events, loaded)
    if Path(source).exists():
        return Replay(read_lines(Path(source), topics))
    if into is None:
        raise NotSentError(f"{source} is no file; if it is a topic, name the stream that it goes into: --into STREAM")
    stream = sending.allowed(into, topics)
    if source == topics[stream]:
        raise NotSentError(f"{source} is that stream's own topic: it would be read without end")
    return Replay(read_topic(settings, source, stream, reached(settings, source, stream) if unread else {}))


def reached(settings: Settings, topic: str, stream: str) -> dict[int, int]:
    """Partition -> next offset of what the stream's table has of a topic; empty where it knows nothing of it. Raises
    `NotReachableError` and `NotSentError`."""
    from confluent_kafka import KafkaException, TopicCollection
    from confluent_kafka.admin import AdminClient

    from warehouse.catalog import load_table
    from warehouse.contract import load_contracts
    from warehouse.opened_lake import LakeUnreachableError, opened_lake
    from warehouse.snapshots import vector_of

    if reason := unreachable(settings):
        raise NotReachableError(reason)
    client = AdminClient(settings.kafka(log_level=0))
    try:
        described = client.describe_topics(TopicCollection([topic]))[topic].result(timeout=15)
        table = load_contracts(own=settings.contracts).stream(stream).tables[0]
        with opened_lake(settings) as catalog:
            vector = vector_of(load_table(catalog, settings.namespace, table.name).metadata)
    except KafkaException:
        raise NotSentError(f"no file and no topic {topic}") from None
    except LakeUnreachableError as error:
        raise NotReachableError(str(error)) from None
    return dict(vector.get(str(described.topic_id), {}))


def load(name: str, path: Path, end_ms: int, stays: int | None = None) -> Loaded:
    """A public source by its name. Raises `SourceMissingError`, and `NotSentError` where the file is no such source."""
    from importlib import import_module

    if name not in SOURCES:
        raise NotSentError(f"--as {name}: sources are {', '.join(SOURCES)}")
    try:
        return import_module(f"infra.loaders.{name}").load(path, end_ms, stays)
    except (ValueError, KeyError) as error:
        raise NotSentError(f"{path} does not read as {name} ({type(error).__name__})") from None


def read_lines(path: Path, topics: dict[str, str]) -> Iterator[Event]:
    """The messages of a JSON-lines file, in order. Raises `NotSentError` with the line's number at the first wrong one;
    those before it have been given."""
    with path.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            if line.strip():
                yield _event(line, f"{path}, line {number}", topics)


def _event(line: bytes, where: str, topics: dict[str, str]) -> Event:
    from infra.simulator.message import encoded
    from infra.simulator.ward import ROW, Event

    try:
        said = json.loads(line)
    except ValueError:
        raise NotSentError(f"{where}: not JSON; what stands before it has been sent") from None
    if not isinstance(said, dict) or not {"stream", "key", "value"} <= said.keys() or not isinstance(said["key"], str):
        raise NotSentError(f"{where}: a message is an object with stream, key (text) and value")
    try:
        stream = sending.allowed(said["stream"], topics)
    except NotSentError as error:
        raise NotSentError(f"{where}: {error}") from None
    value: Any = said["value"]
    if isinstance(value, dict):
        value = encoded(value)
    elif isinstance(value, str):
        value = value.encode()
    elif value is not None:
        raise NotSentError(f"{where}: the value is an object, text or null")
    return Event(said["key"].encode(), value, "replayed", "", None, 0, ROW, None, stream)


def read_topic(settings: Settings, topic: str, stream: str, starts: Mapping[int, int]) -> Iterator[Event]:
    """The messages of a topic from its beginning (or `starts`: partition -> offset) to its end as it is now, each
    partition in its order, as events of `stream`. Raises `NotSentError` and `NotReachableError`."""
    from confluent_kafka import Consumer, KafkaException, TopicPartition

    options = {"group.id": "wardstream-replay", "enable.auto.commit": False, "log_level": 0}
    consumer = Consumer(
        settings.kafka(**options, **{"auto.offset.reset": "error", "isolation.level": "read_committed"})
    )
    try:
        standing = consumer.list_topics(topic, timeout=15).topics[topic]
        if standing.error is not None:
            raise NotSentError(f"no file and no topic {topic}")
        ends = {p: consumer.get_watermark_offsets(TopicPartition(topic, p), timeout=15) for p in standing.partitions}
        first = {p: max(low, starts.get(p, low)) for p, (low, _) in ends.items()}
        left = {p: high for p, (_, high) in ends.items() if high > first[p]}
        consumer.assign([TopicPartition(topic, p, first[p]) for p in left])
        yield from _until(consumer, topic, left, stream)
    except KafkaException as error:
        raise NotReachableError(
            f"Kafka at {settings.kafka_bootstrap} does not answer: {error.args[0].name()}"
        ) from None
    finally:
        consumer.close()


def _until(consumer: Any, topic: str, left: dict[int, int], stream: str) -> Iterator[Event]:
    """Messages until every partition in `left` has reached its next offset."""
    from confluent_kafka import KafkaException, TopicPartition

    from infra.simulator.ward import ROW, Event

    ends, heard_at = dict(left), time.monotonic()
    while left:
        for message in consumer.consume(10_000, 0.5):
            if message.error() is not None:
                raise KafkaException(message.error())
            heard_at = time.monotonic()
            if message.offset() < ends[message.partition()]:
                yield Event(message.key(), message.value(), "replayed", "", None, 0, ROW, None, stream)
        for reached in consumer.position([TopicPartition(topic, p) for p in left]):
            if reached.offset >= left[reached.partition]:
                del left[reached.partition]
        if time.monotonic() - heard_at > SILENCE_S:
            raise NotReachableError(f"{topic} delivers nothing before the end of its partitions {sorted(left)}")


# ------------------------------------------------------------------ what is printed


def _conclude(found: Replay, sent: Sent, seconds: float, dry_run: bool, as_json: bool) -> None:
    if as_json:
        print(json.dumps(_as_dict(found, sent, seconds, dry_run)))
        return
    for line in (*_mapping(found.loaded), *_counts(sent, seconds, dry_run)):
        print(line)


def _as_dict(found: Replay, sent: Sent, seconds: float, dry_run: bool) -> dict[str, Any]:
    told: dict[str, Any] = {"dry_run": dry_run, "messages": sent.messages, "by_stream": dict(sent.by_stream)}
    if not dry_run:
        told |= {"acknowledged": sent.acknowledged, "unacknowledged": sent.unacknowledged, "completed": sent.completed}
    if found.loaded:
        told |= {"rows": found.loaded.rows, "mapped": found.loaded.mapped, "not_sent": dict(found.loaded.not_sent)}
        told["items"] = {
            key: {"stream": i.stream, "name": i.name, "code": i.code, "unit": i.unit}
            for key, i in found.loaded.items.items()
        }
    return told | {"seconds": round(seconds, 1)}


def _mapping(loaded: Loaded | None) -> list[str]:
    if loaded is None:
        return []
    items = [f"  {key:>8}  {item.name:32}  {item.code:8}  {item.unit}" for key, item in loaded.items.items()]
    share = loaded.mapped / loaded.rows if loaded.rows else 0.0
    told = [f"  not sent: {reason}: {count:,}" for reason, count in loaded.not_sent.items() if count]
    return ["mapped:", *items, f"{loaded.mapped:,} of {loaded.rows:,} values mapped ({share:.1%})", *told]


def _counts(sent: Sent, seconds: float, dry_run: bool) -> list[str]:
    streams = ", ".join(f"{stream} {count:,}" for stream, count in sent.by_stream.items())
    if dry_run:
        return [f"would send {sent.messages:,} messages: {streams}" if streams else "nothing to send"]
    lines = [f"{sent.messages:,} messages in {seconds:.1f} s: {streams}" if streams else "nothing to send"]
    if sent.unacknowledged:
        lines.append(
            f"{sent.unacknowledged:,} were not acknowledged: send again, what arrived is known by its event id"
        )
    return lines


def _tell(line: str, code: int) -> int:
    print(f"wardstream replay: {line}", file=sys.stderr)
    return code
