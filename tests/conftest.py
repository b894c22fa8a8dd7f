"""Real servers for tests, one broker and one store a pytest worker, and settings that point at them.

Servers start when the first test asks and end with the worker, kill -9 included. What cannot be had (jars not
cached and no network, Go, PostgreSQL) is named: a skip at a desk, a failure where `CI` is set.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from infra.services import jars, java, ports
from infra.services.kafka import EmbeddedKafka
from infra.services.prism import PrismError, build_prism
from infra.services.processes import Child
from infra.services.store import EmbeddedStore
from tests.examples import by_default
from tests.postgres import LocalPostgres, PostgresMissingError
from warehouse.settings import EMBEDDED_ACCESS_KEY, EMBEDDED_READER_KEY, Settings

by_default()

TEST_BASES = (10_000, 18_000)
"""Where workers take their ports: away from the default base of 19000, below the kernel's ephemeral range."""

WRITER = (EMBEDDED_ACCESS_KEY, "embedded-loopback-only")
READER = (EMBEDDED_READER_KEY, "embedded-read-only")


def cannot(what: str, remedy: str) -> None:
    """This test needs something that is not here: fail in CI, skip elsewhere, name it in both."""
    message = f"{what}: {remedy}"
    if os.environ.get("CI", "").lower() in ("1", "true"):
        pytest.fail(message)
    pytest.skip(message)


@pytest.fixture(scope="session")
def cache() -> Path:
    """The user's cache of jars and binaries, shared by all workers and runs."""
    return Settings.from_environment().cache


@pytest.fixture(scope="session")
def kafka_jars(cache: Path) -> Path:
    """The folder of the broker's jars, fetched if they are not cached."""
    try:
        return jars.fetch_kafka(cache, progress=lambda line: None)
    except jars.JarError as error:
        cannot("the embedded Kafka's jars are missing", f"run `make install` ({error})")
        raise


@pytest.fixture(scope="session")
def free_port_base() -> Iterator[Callable[[], int]]:
    """Call for a port base that is free and that no other worker or test run on this machine is given."""
    with ExitStack() as claims:
        yield lambda: next(base for base in ports.free_bases(*TEST_BASES) if _claimed(base, claims))


def _claimed(base: int, claims: ExitStack) -> bool:
    lock = Path(tempfile.gettempdir()) / f"wardstream-test-ports-{base}.lock"
    handle = os.open(lock, os.O_RDWR | os.O_CREAT, 0o666)
    claims.callback(os.close, handle)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@pytest.fixture(scope="session")
def kafka(
    kafka_jars: Path, tmp_path_factory: pytest.TempPathFactory, free_port_base: Callable[[], int]
) -> Iterator[str]:
    """Bootstrap address of this worker's broker. Topics are not created by accident: create yours."""
    folder = tmp_path_factory.mktemp("kafka")
    broker = EmbeddedKafka(folder, free_port_base(), java.find_java(), kafka_jars)
    child = Child.start(broker.program(folder / "kafka.log"))
    try:
        child.wait_ready()
        yield broker.bootstrap
    finally:
        child.kill()
        shutil.rmtree(folder / "data", ignore_errors=True)


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory, free_port_base: Callable[[], int]) -> Iterator[str]:
    """S3 endpoint of this worker's store, with the bucket `warehouse` and the embedded credentials."""
    folder = tmp_path_factory.mktemp("store")
    embedded = EmbeddedStore(folder, free_port_base(), "warehouse", WRITER, READER)
    child = Child.start(embedded.program(folder / "store.log"))
    try:
        child.wait_ready()
        yield embedded.endpoint
    finally:
        child.kill()
        shutil.rmtree(folder / "data", ignore_errors=True)


@pytest.fixture(scope="session")
def prism(cache: Path) -> Path:
    """The Prism program, built if it is not cached (minutes)."""
    try:
        return build_prism(cache, progress=lambda line: None)
    except PrismError as error:
        cannot("the Prism runner is missing", str(error))
        raise


@pytest.fixture(scope="session")
def postgres(free_port_base: Callable[[], int]) -> Iterator[str]:
    """URI of an empty database on a PostgreSQL of this worker's own, as `WARDSTREAM_CATALOG_URI` takes it."""
    try:
        server = LocalPostgres(free_port_base())
    except PostgresMissingError as error:
        cannot("PostgreSQL is missing", str(error))
        raise
    try:
        yield server.uri
    finally:
        server.stop()


@pytest.fixture
def settings(kafka: str, store: str, tmp_path: Path, cache: Path) -> Settings:
    """Settings on this worker's servers with a namespace, topic prefix, home and SQLite catalog of its own."""
    return settings_on(kafka, store, cache, tmp_path / "home")


def settings_on(kafka: str, store: str, cache: Path, home: Path) -> Settings:
    """Settings as those of `settings`, for a fixture that outlives a test."""
    mark = f"t{uuid.uuid4().hex[:10]}"
    return Settings.from_environment(
        {
            "WARDSTREAM_HOME": str(home),
            "WARDSTREAM_CACHE": str(cache),
            "WARDSTREAM_KAFKA_BOOTSTRAP": kafka,
            "WARDSTREAM_TOPIC_PREFIX": f"{mark}.",
            "WARDSTREAM_S3_ENDPOINT": store,
            "WARDSTREAM_WAREHOUSE": f"s3://warehouse/{mark}",
            "WARDSTREAM_NAMESPACE": mark,
        }
    )
