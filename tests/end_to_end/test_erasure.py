"""A person with traces in every stream and store is erased, and then not a byte of theirs is anywhere.

The stack is real and the home one folder, so that every file of it can be opened: broker, store, catalog, vault, logs.
Topics keep messages for seconds, so that the last instant which the certificate names comes while the test waits.
"""

from __future__ import annotations

import gzip
import json
import os
import random
import sqlite3
import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from confluent_kafka import Producer

from infra.cli.answers import FORMATS
from infra.cli.exports import erasures_so_far, on_record
from infra.erasure.compose import opened_erasure
from infra.planning.topics import Topics
from infra.services import java
from infra.services.kafka import EmbeddedKafka
from infra.services.processes import Child
from infra.services.store import EmbeddedStore
from infra.verifier.search import Searched, Trace, search
from infra.verifier.store import Store
from infra.verifier.verify import check
from pipelines.stream import EXIT_DRAINED
from tests.deployment import Deployment
from tests.pipelines.messages import adt, lab, medication, reading
from tests.warehouse.erasure.made import Ward
from tests.warehouse.retention.made import filled
from warehouse.analytics import Analytics
from warehouse.commit import FencedTable
from warehouse.erasure.inventory import token_column
from warehouse.erasure.run import certificate_file
from warehouse.erasure.stores import PinnedError
from warehouse.models.artefacts import ArtefactError, sha256
from warehouse.models.kept_snapshots import KeptSnapshots
from warehouse.models.looks import Looks
from warehouse.models.people import seal_people
from warehouse.models.registry import Model, Registry
from warehouse.settings import Settings
from warehouse.staging import stage
from warehouse.table_session import store_of
from warehouse.vault import LEARNERS_KEY

pytestmark = [pytest.mark.end_to_end, pytest.mark.timeout(1500)]

GONE, OTHERS = "P777777", [f"P{n:06d}" for n in range(1, 4)]
RARE = 83.62519370218
LEARNT = "5ca1ab1e5ca1ab1e"
SOON_MS, AT_ONCE_MS, LATER_MS = "60000", "1000", "86400000"
WAIT_SECONDS = 300
STANDING = {"vitals", "wearables", "labs", "adt_events", "medication_events", "rejects", "duplicates", "data_deletions"}
STANDING |= {"alerts", "vitals_by_hour", "stays"}


class HastyKafka(EmbeddedKafka):
    """A broker that looks every second whether a segment can go."""

    def properties(self) -> dict[str, object]:
        return {**super().properties(), "log.retention.check.interval.ms": 1000}


@pytest.fixture
def stack(tmp_path: Path, kafka_jars: Path, cache: Path, free_port_base) -> Iterator[Settings]:
    """Broker and store of a home of their own, as `up` would start them."""
    base = free_port_base()
    settings = Settings.from_environment(
        {"WARDSTREAM_HOME": str(tmp_path / "home"), "WARDSTREAM_CACHE": str(cache), "WARDSTREAM_PORT_BASE": str(base)}
    )
    logs = tmp_path / "home" / "run"
    logs.mkdir(parents=True)
    broker = HastyKafka(settings.home / "kafka", base, java.find_java(), kafka_jars)
    children = [Child.start(EmbeddedStore.of(settings).program(logs / "store.log"))]
    children.append(Child.start(broker.program(logs / "kafka.log")))
    try:
        for child in children:
            child.wait_ready()
        yield settings
    finally:
        for child in children:
            child.kill()


def iso(minutes_ago: float) -> str:
    return (datetime.now(UTC) - timedelta(minutes=minutes_ago)).strftime("%Y-%m-%dT%H:%M:%S.000Z")


def messages(person: str, chance: random.Random, rare: float) -> Iterator[tuple[str, object, str]]:
    """(stream, message, event id) of a person in every stream that comes from outside."""

    def event() -> str:
        return str(uuid.UUID(int=chance.getrandbits(128)))

    def of(make, **fields) -> tuple[dict, str]:
        name = event()
        return make(event_id=name, patient_id=person, **fields), name

    for n in range(20):
        at = iso(30 - n)
        yield "device.vitals", *of(reading, event_time=at, value=rare if n == 3 else 70.0 + n, seq=n)
        yield "device.vitals", *of(reading, event_time=at, code="59408-5", value=82.0, unit="%", seq=100 + n)
        yield "iot.patient", *of(reading, event_time=at, code="8867-4", value=rare if n == 3 else 60.0, seq=n)
    yield "lab.results", *of(lab, value=rare, collected_at=iso(40), reported_at=iso(35), order_id=f"L-{event()}")
    yield "adt.events", *of(adt, stay_id=f"S-{event()}", event_time=iso(60))
    yield "medication.events", *of(medication, dose=rare, event_time=iso(20), order_id=f"M-{event()}")
    # What the contract does not know is kept sealed; what cannot be read is a reject, sealed.
    yield "device.vitals", *of(reading, event_time=iso(9), seq=900, told_by_family=f"note {event()}")
    yield "device.vitals", *of(reading, event_time=iso(9), seq=901, code="not a code", value=rare)
    yield (
        "patient.data.deletions",
        {
            "event_id": event(),
            "request_id": f"portal-{person}",
            "patient_id": person,
            "category": None,
            "reason": "asked at the portal",
            "requested_at": iso(5),
            "requested_by": "portal",
        },
        "",
    )


def send(settings: Settings, person: str, rare: float, seed: int) -> list[str]:
    """Send all of a person's messages, and the first one again; the event ids."""
    producer, sent = Producer(settings.kafka(partitioner="murmur2_random", **{"compression.type": "zstd"})), []
    everything = list(messages(person, random.Random(seed), rare))
    for stream, message, name in [*everything, everything[0]]:
        producer.produce(settings.topic(stream), key=person, value=json.dumps(message))
        sent += [name] if name else []
    assert producer.flush(60) == 0
    return sent


def leave_more_behind(settings: Settings, ward: Ward) -> None:
    """Rows in derived tables, a compaction's older files, a run that failed between staging and commit, and a tag."""
    token, day = ward.token(GONE), datetime.now(UTC).date()
    for table in ward.contracts.tables():
        if token_column(table) and not table.fed_by and table.daily:
            rows = filled(table.name, [day] * 2, ward.contracts, subject_token=[token, ward.token(OTHERS[0])])
            FencedTable(ward.catalog, (settings.namespace, table.name), writer="t").append_derived(rows, {"u": 1}, day)
    vitals = ward.table("vitals")
    stage(vitals, ward.readings([token] * 5, day, 1_000_000), store_of(vitals))
    FencedTable(ward.catalog, (settings.namespace, "vitals"), writer="t").cluster_manifests({})
    labs = ward.table("labs")
    labs.manage_snapshots().create_tag(labs.current_snapshot().snapshot_id, "model-1").commit()


def leave_a_model(settings: Settings, ward: Ward) -> Registry:
    """One that learned from the person: a number of theirs stands in its trees and in its profile, and a tag keeps what
    it learned from."""
    registry = Registry(settings, ward.contracts, ward.catalog, "t")
    files = {"model.txt.gz": gzip.compress(f"threshold={RARE!r} 0.5\n".encode(), mtime=0)}
    sealed = seal_people(ward.vault.house_key(LEARNERS_KEY), LEARNT, [ward.token(GONE), ward.token(OTHERS[0])])
    snapshots = {"vitals": ward.table("vitals").current_snapshot().snapshot_id}
    row = Model(
        version=LEARNT, name="sepsis", artefacts={name: sha256(content) for name, content in files.items()},
        learnt_from=registry.files.put(sealed), learnt_stays=2, source="tables of the lake", snapshots=snapshots,
        code="c0de", parameters={}, metrics={}, registered_at=datetime.now(UTC), registered_by="t",
    )  # fmt: skip
    KeptSnapshots(ward.catalog, settings.namespace).hand_over("", snapshots, LEARNT)
    registry.register(row, files)
    profile = {
        "version": LEARNT, "scope": "stay", "item": "HR", "stays": 2, "of_stays": 2, "quantiles": [60.0, RARE],
        "measured_mean": 1.0, "measured_sd": 0.0, "stuck": [], "stuck_stays": 0, "made_at": datetime.now(UTC),
    }  # fmt: skip
    Looks(ward.catalog, settings.namespace, ward.contracts, "t").keep_profile(LEARNT, [profile])
    return registry


def leave_exports(settings: Settings, ward: Ward) -> None:
    """Two files that left, one with rows of the person, one without."""
    folder = settings.home / "exports"
    folder.mkdir()
    with Analytics(settings) as analytics:
        for name, person in (("theirs.csv", GONE), ("others.csv", OTHERS[0])):
            token = ward.token(person)
            answer = analytics.query(f"SELECT subject_token, numeric_value FROM vitals WHERE subject_token = '{token}'")
            content = FORMATS["csv"](answer)
            now = datetime.now(UTC)
            with on_record(
                settings, analytics, answer, folder / name, content,
                erasures=erasures_so_far(settings), purpose=None, recipient="study", now=now,
            ):  # fmt: skip
                (folder / name).write_bytes(content)


def assert_no_model_and_no_file(document: dict, settings: Settings, registry: Registry) -> None:
    said = document["certificate"]
    ((renewal),) = said["models"]
    assert (renewal["old"]["version"], renewal["new"]) == (LEARNT, None)
    with pytest.raises(ArtefactError):
        registry.load(LEARNT)
    assert [(Path(each["path"]).name, each["state"]) for each in said["exports"]] == [("theirs.csv", "deleted")]
    assert [each.name for each in (settings.home / "exports").iterdir()] == ["others.csv"]


def traces_of(settings: Settings, ward: Ward, event_ids: list[str]) -> list[Trace]:
    """Everything by which the person could be found."""
    token = ward.token(GONE)
    found = [Trace("identifier", GONE), Trace("token", token), Trace("number", RARE)]
    found += [Trace("event_id", each) for each in set(event_ids)]
    for name, column in (("rejects", "sealed_payload"), ("vitals", "unknown_fields")):
        rows = ward.rows(name)
        theirs = rows.filter(pc.equal(rows["subject_token"].cast(pa.string()), token))
        found += [Trace("ciphertext", sealed) for sealed in theirs[column].to_pylist() if sealed]
    rows = ward.rows("vitals")
    theirs = rows.filter(pc.equal(rows["subject_token"].cast(pa.string()), token))
    places = theirs.select(["topic_id", "kafka_partition", "kafka_offset"]).to_pylist()
    return [*found, *(Trace("position", tuple(place.values())) for place in places)]


def places(searched: Searched, home: Path) -> set[str]:
    """The first two folders of the home of every file with a find."""
    return {"/".join(Path(find.file).relative_to(home).parts[:2]) for find in searched.finds}


def in_digests(ward: Ward, names: list[str]) -> dict[str, str]:
    return {name: ward.digest_without([GONE], name) for name in names}


def test_no_byte_left(stack: Settings, tmp_path: Path) -> None:
    settings, home = stack, stack.home
    with Deployment(settings) as deployment:
        for n, person in enumerate(OTHERS):
            send(settings, person, 1000.0 + n, seed=n)
        event_ids = send(settings, GONE, RARE, seed=777)
        deployment.run_stream_to_the_end()
        ward = Ward(settings, new=False)
        leave_more_behind(settings, ward)
        registry = leave_a_model(settings, ward)
        leave_exports(settings, ward)
        with_people = [table.name for table in ward.contracts.tables() if token_column(table)]
        standing = [name for name in with_people if ward.of(GONE, name)]
        assert {"vitals", "wearables", "labs", "adt_events", "medication_events", "rejects", "duplicates"} <= set(
            standing
        )
        assert {"data_deletions", "alerts", "vitals_by_hour", "stays"} <= set(standing)
        others = in_digests(ward, with_people)

        traces = traces_of(settings, ward, event_ids)
        before = search([home], traces)
        assert set(before.kinds()) == {"identifier", "token", "number", "event_id", "ciphertext", "position"}
        assert before.kinds()["position"] == sum(trace.kind == "position" for trace in traces)
        assert before.kinds()["ciphertext"] == sum(trace.kind == "ciphertext" for trace in traces) >= 2
        assert {"store/data", "kafka/data", "vault/vault.sqlite", "exports/theirs.csv"} <= places(before, home)
        assert "exports/others.csv" not in places(before, home)
        assert registry.load(LEARNT)

        request = erased(settings, deployment, ward)
        document = json.loads(certificate_file(settings, request).read_text())
        assert_certified(document)
        assert_no_model_and_no_file(document, settings, registry)
        assert {name: ward.of(GONE, name) for name in with_people} == dict.fromkeys(with_people, 0)
        same = [name for name in with_people if name != "rejects"]
        assert in_digests(ward, same) == {name: others[name] for name in same}
        wait_for_the_last_instant(document)
        gone_from_kafka(home, traces)
        after_the_fence(settings, deployment, ward, traces)
        left = search([home], traces)
        assert [(find.kind, find.file, find.way) for find in left.finds] == []
        assert left.files > 50
        assert [each for each in left.unread if "store/data" in each[0] or "kafka/data" in each[0]] == []

        store = store_of(ward.table())
        endpoint = Store(store.fs_by_scheme("s3", "warehouse"))
        verdict, _ = check(document, home, endpoint, datetime.now(UTC), traces=traces)
        assert verdict.wrong == []
        assert verdict.waiting == []
        one_left_behind_in_each_place_is_found(settings, ward, traces)


def keep(settings: Settings, ward: Ward, milliseconds: str) -> None:
    """Let every topic keep messages for so long, in segments of a second."""
    for topic in ward.contracts.topics():
        config = {"retention.ms": milliseconds, "segment.ms": "1000", "file.delete.delay.ms": "100"}
        Topics(settings).configure(settings.topic(topic.stream), config)


def erased(settings: Settings, deployment: Deployment, ward: Ward) -> str:
    """Request, verification, a tag in the way, a restricted patient, and the erasure; the request."""
    with opened_erasure(settings) as erasure:
        assert erasure.surroundings.coverage().complete
        erasure.intake()
        mark = erasure.book.mark(ward.token(GONE))
        (request,) = (name for name, each in erasure.book.current().items() if each.subject_mark == mark)
        erasure.verify(request, "passport seen at the desk")
        (found,) = erasure.run([request])
        assert found.state == "restricted"
        admissions = erasure.surroundings.admissions
        assert admissions.ends()
        assert admissions.behind(admissions.ends()) == []
        discharge(settings)
        assert admissions.behind(admissions.ends()) == ["1 positions of adt.events for adt_events"]
        read_once(deployment)
        assert admissions.behind(admissions.ends()) == []
        with pytest.raises(PinnedError, match="model-1"):
            erasure.run([request])
        ward.table("labs").manage_snapshots().remove_tag("model-1").commit()
        # One more comes behind the fence: it is read, and refused.
        producer = Producer(settings.kafka(partitioner="murmur2_random"))
        producer.produce(settings.topic("lab.results"), key=GONE, value=json.dumps(lab(patient_id=GONE, value=RARE)))
        assert producer.flush(30) == 0
        read_once(deployment)
        keep(settings, ward, SOON_MS)
        (found,) = erasure.run([request])
    assert found.state == "certified"
    return request


def read_once(deployment: Deployment) -> None:
    """The stream reads what there is; nothing it sends is waited for."""
    process = deployment.start_stream("--until-end")
    assert process.wait(timeout=240) == EXIT_DRAINED, deployment.log()


def discharge(settings: Settings) -> None:
    """Their stay ends, by a message that nobody has read yet."""
    with Analytics(settings) as analytics:
        token = Ward(settings, new=False).token(GONE)
        rows = analytics.query(f"SELECT stay_id FROM adt_events WHERE subject_token = '{token}'").table
    message = adt(event_id="d", patient_id=GONE, type="A03", stay_id=rows["stay_id"][0].as_py(), event_time=iso(1))
    producer = Producer(settings.kafka(partitioner="murmur2_random"))
    producer.produce(settings.topic("adt.events"), key=GONE, value=json.dumps(message))
    assert producer.flush(30) == 0


def after_the_fence(settings: Settings, deployment: Deployment, ward: Ward, traces: list[Trace]) -> None:
    """What comes of the person later is refused: a position, a reason, and nothing else."""
    known = refused_rows(ward).num_rows
    keep(settings, ward, LATER_MS)
    send(settings, GONE, RARE, seed=778)
    read_once(deployment)
    refused = refused_rows(ward)
    assert refused.num_rows - known == len(list(messages(GONE, random.Random(1), RARE))) + 1
    assert refused["subject_token"].null_count == refused.num_rows
    assert set(refused["size_bytes"].to_pylist()) == {0}
    keep(settings, ward, AT_ONCE_MS)
    gone_from_kafka(settings.home, traces)


def gone_from_kafka(home: Path, traces: list[Trace]) -> None:
    """A broker on a busy machine looks later than it says it does."""
    deadline = time.monotonic() + 120
    while (left := search([home / "kafka"], traces).finds) and time.monotonic() < deadline:
        time.sleep(2)
    assert left == []


def refused_rows(ward: Ward) -> pa.Table:
    rows = ward.rows("rejects")
    return rows.filter(pc.equal(rows["reason"], "erased"))


def assert_certified(document: dict) -> None:
    said = document["certificate"]
    assert said["key"]["seconds_after_verification"] is not None
    stores = {each["store"]: each for each in said["stores"]}
    assert stores["table:vitals"]["before"] > stores["table:vitals"]["after"] == 0
    assert stores["topic:device.vitals"]["before"] > 0
    assert len(said["objects"]) > 5
    text = json.dumps(document)
    assert GONE not in text


def wait_for_the_last_instant(document: dict) -> None:
    """Until the certificate's last instant."""
    now = datetime.now(UTC)
    # On a slow machine the topics may have let go of everything before the certificate was made.
    last = max((datetime.fromisoformat(each["until"]) for each in document["certificate"]["remains"]), default=now)
    assert last - datetime.now(UTC) < timedelta(seconds=WAIT_SECONDS)
    time.sleep(max(0.0, (last - datetime.now(UTC)).total_seconds()))


def one_left_behind_in_each_place_is_found(settings: Settings, ward: Ward, traces: list[Trace]) -> None:
    """The search that found nothing finds what is put there on purpose."""
    home, token = settings.home, ward.token(GONE)

    def found(folder: Path = home) -> set[str]:
        return places(search([folder], traces), home)

    io = store_of(ward.table())
    sink = pa.BufferOutputStream()
    pa.parquet.write_table(pa.table({"a": [token]}), sink, compression="zstd")
    io.put(f"{settings.warehouse}/left.parquet", sink.getvalue())
    assert found(home / "store") == {"store/data"}
    io.delete_many([f"{settings.warehouse}/left.parquet"])
    assert found(home / "store") == {"store/data"}, "a deleted object lies in its volume until a vacuum"
    (home / "exports" / "left.csv").write_text(f"who,value\n{token},1\n")
    (home / "run" / "old.log").write_bytes(gzip.compress(token.encode()))
    database = sqlite3.connect(home / "catalog" / "catalog.sqlite")
    database.execute("CREATE TABLE forgotten (a TEXT)")
    database.execute("INSERT INTO forgotten VALUES (?)", (GONE,))
    database.commit()
    database.close()
    producer = Producer(settings.kafka(**{"compression.type": "zstd"}))
    Topics(settings).configure(settings.topic("device.vitals"), {"retention.ms": "600000"})
    producer.produce(
        settings.topic("device.vitals"), key=GONE, value=json.dumps({"patient_id": GONE} | {"x": "y" * 99})
    )
    assert producer.flush(30) == 0
    (home / "dagster").mkdir(exist_ok=True)
    (home / "dagster" / "event.db").write_bytes(os.urandom(64) + token.encode())
    names = {"store/data", "kafka/data", "run/old.log", "catalog/catalog.sqlite", "dagster/event.db"}
    names |= {"exports/left.csv"}
    assert found() == names
