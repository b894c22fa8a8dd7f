"""One broker, one store, one catalog, each behind a proxy; and sites on them.

Holds: ports, folders, start and end of everything, and healing. Does not hold: what runs on a site (site.py).
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from infra.services import jars, java, ports
from infra.services.ports import LOOPBACK
from infra.services.store import EmbeddedStore
from tests.conftest import READER, TEST_BASES, WRITER
from tests.crash.stack import proxy
from tests.crash.stack.proxy import Proxy
from tests.crash.stack.servers import Disk, Server, TwoDoorKafka
from tests.crash.stack.wires import Http, Kafka, PostgreSQL
from tests.postgres import Postgres
from warehouse.settings import Settings

PROXIED_LISTENER, BROKER_PROXY, STORE_PROXY, CATALOG_PROXY, POSTGRES = range(1, 6)
"""Offsets from the port base that no embedded part uses."""
DISK_BYTES = 1 << 30


class Stack:
    """Servers and proxies. Must be entered from the main thread: children end with the thread that started them.

    Args:
        catalog: `postgresql` or `sqlite`. Raises `MissingError` on entry where that is not there.
        folder: for everything; made if it is missing, deleted on exit.
    """

    def __init__(self, catalog: str, seed: str, folder: Path | None = None) -> None:
        self.catalog = catalog
        self._exit = ExitStack()
        self.folder = folder or Path(tempfile.mkdtemp(prefix="wardstream-stack-"))
        self.folder.mkdir(parents=True, exist_ok=True)
        self.folder.chmod(0o755)  # PostgreSQL's user must get at its own folder in it
        self.base = next(_claimed_bases(self._exit))
        self.cache = Settings.from_environment().cache
        kafka = TwoDoorKafka(
            self.folder / "kafka", self.base, java.find_java(), jars.fetch_kafka(self.cache, lambda line: None),
            self.base + PROXIED_LISTENER, self.base + BROKER_PROXY,
        )  # fmt: skip
        store = EmbeddedStore(self.folder / "store", self.base, "warehouse", WRITER, READER)
        self._postgres = Postgres(self.folder / "postgresql", self.base + POSTGRES)
        self.broker_disk = Disk(self.folder / "kafka", DISK_BYTES)
        self.store_disk = Disk(self.folder / "store", DISK_BYTES)
        self._bootstrap, self._s3 = kafka.bootstrap, store.endpoint
        self.broker = Server("broker", lambda: kafka.program(self.folder / "kafka.log"))
        self.store = Server("store", lambda: store.program(self.folder / "store.log"))
        self.database = Server("postgresql", lambda: self._postgres.program(self.folder / "postgresql.log"))
        self.servers = [self.broker, self.store, *([self.database] if catalog == "postgresql" else [])]
        self.before_broker = Proxy(self.base + BROKER_PROXY, self.base + PROXIED_LISTENER, Kafka(), f"{seed}/broker")
        self.before_store = Proxy(self.base + STORE_PROXY, ports.port(self.base, "s3"), Http(), f"{seed}/store")
        self.before_catalog = Proxy(self.base + CATALOG_PROXY, self._postgres.port, PostgreSQL(), f"{seed}/catalog")
        self.proxies = (self.before_broker, self.before_store, self.before_catalog)

    def __enter__(self) -> Stack:
        for disk in (self.broker_disk, self.store_disk):
            self._exit.callback(disk.unmount)
            disk.mount()
        for server in self.servers:
            self._exit.callback(server.kill)
            server.start()
        return self

    def __exit__(self, *_: object) -> None:
        for each in self.proxies:
            each.close()
        self._exit.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def answers_lost(self) -> int:
        return sum(each.answers_lost for each in self.proxies)

    @property
    def jdbc(self) -> str:
        """The PostgreSQL catalog for programs on the JVM."""
        return f"jdbc:postgresql://{LOOPBACK}:{self._postgres.port}/postgres"

    def heal(self) -> None:
        """Everything runs, has room and answers again."""
        for disk in (self.broker_disk, self.store_disk):
            disk.free()
        for server in self.servers:
            server.ensure()
        for each in self.proxies:
            each.set(proxy.PASS)

    def settings(self) -> Settings:
        """Settings of a fresh site that reach the servers directly: for the harness, its wards and the oracle."""
        mark = f"s{uuid.uuid4().hex[:10]}"
        home = self.folder / "sites" / mark
        sqlite = f"sqlite:///{home / 'catalog' / 'catalog.sqlite'}"
        return Settings.from_environment(
            {
                "WARDSTREAM_HOME": str(home),
                "WARDSTREAM_CACHE": str(self.cache),
                "WARDSTREAM_KAFKA_BOOTSTRAP": self._bootstrap,
                "WARDSTREAM_TOPIC_PREFIX": f"{mark}.",
                "WARDSTREAM_S3_ENDPOINT": self._s3,
                "WARDSTREAM_WAREHOUSE": f"s3://warehouse/{mark}",
                "WARDSTREAM_NAMESPACE": mark,
                "WARDSTREAM_CATALOG_URI": self._direct_uri() if self.catalog == "postgresql" else sqlite,
            }
        )

    def through_proxies(self, settings: Settings) -> Settings:
        """The same site as its streams see it: everything behind a proxy (a SQLite catalog is a file and has none)."""
        proxied = self._postgres.uri(self.base + CATALOG_PROXY)
        return replace(
            settings,
            kafka_bootstrap=f"{LOOPBACK}:{self.base + BROKER_PROXY}",
            s3_endpoint=f"http://{LOOPBACK}:{self.base + STORE_PROXY}",
            catalog_uri=proxied if self.catalog == "postgresql" else settings.catalog_uri,
        )

    def _direct_uri(self) -> str:
        return self._postgres.uri(self._postgres.port)


def _claimed_bases(claims: ExitStack) -> Iterator[int]:
    """Free port bases that no test run on this machine uses, claimed by the same files as tests/conftest.py does."""
    for base in ports.free_bases(*TEST_BASES):
        lock = Path(tempfile.gettempdir()) / f"wardstream-test-ports-{base}.lock"
        handle = os.open(lock, os.O_RDWR | os.O_CREAT, 0o666)
        claims.callback(os.close, handle)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            continue
        yield base
