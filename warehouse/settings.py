"""One frozen `Settings`, read once from the environment by an entry point and handed down.

Holds: every variable the product reads, its default, its check, and what to do when it is wrong.
Does not hold: anything that a contract says (topics, columns, retention), nor any secret in clear in `repr`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")

EMBEDDED_ACCESS_KEY = "wardstream"
EMBEDDED_READER_KEY = "wardstream-reader"
DEFAULT_WAREHOUSE = "s3://warehouse/lake"


READABLE_CLASSES = (
    "",
    "STANDARD",
    "STANDARD_IA",
    "ONEZONE_IA",
    "INTELLIGENT_TIERING",
    "GLACIER_IR",
    "REDUCED_REDUNDANCY",
)
"""Storage classes whose objects are read at once. From the others (GLACIER, DEEP_ARCHIVE) a query would only get errors
until somebody has them restored: what lies cold must answer."""


class SettingError(ValueError):
    """A variable has a value that cannot be used. The message names it, the shape wanted and the remedy."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything a process of Wardstream needs to know about its surroundings.

    `contracts` is a folder of the site's own contracts, beside those of the house, `rules` one of its rule packs.
    `intensive_care`: ward or pattern -> `medical`, `surgical` or nothing; empty: wards are known by usual names. Paths
    are absolute. Times are seconds, sizes bytes. An `embedded_*` flag is true where the product starts that part itself
    (nothing was configured for it).
    """

    home: Path
    contracts: Path | None
    rules: Path
    intensive_care: Mapping[str, str]
    cache: Path
    port_base: int
    kafka_bootstrap: str
    kafka_options: Mapping[str, str] = field(repr=False)
    topic_prefix: str
    kafka_tiered: bool
    s3_endpoint: str
    s3_region: str
    s3_access_key: str
    s3_secret_key: str = field(repr=False)
    s3_reader_key: str
    s3_reader_secret: str = field(repr=False)
    warehouse: str
    cold_warehouse: str
    cold_storage_class: str
    upkeep_wait_seconds: float
    erasure_deadline_days: int
    vault_backup_days: int
    retention: str
    prices: Mapping[str, str]
    catalog_uri: str = field(repr=False)
    namespace: str
    vault_uri: str
    coordination_uri: str = field(repr=False)
    runner: str
    prism_endpoint: str
    branches: str
    partitions: tuple[int, ...] | None
    takeover: bool
    commit_seconds: float
    commit_rows: int
    lake_queue_bytes: int
    sql_memory_bytes: int
    embedded_kafka: bool
    embedded_s3: bool
    embedded_catalog: bool

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> Settings:
        """Read and check all variables. Raises `SettingError` for the first that cannot be used."""
        read = _Reader(os.environ if environment is None else environment)
        home = read.path("WARDSTREAM_HOME", Path.cwd() / ".wardstream")
        port_base = read.integer("WARDSTREAM_PORT_BASE", 19000, least=1024, most=64000)
        bootstrap = read.text("WARDSTREAM_KAFKA_BOOTSTRAP", "")
        endpoint = read.text("WARDSTREAM_S3_ENDPOINT", "")
        catalog_uri = read.text("WARDSTREAM_CATALOG_URI", "")
        return cls(
            home=home,
            contracts=read.optional_path("WARDSTREAM_CONTRACTS"),
            rules=read.path("WARDSTREAM_RULES", home / "rules"),
            intensive_care=_intensive_care(read),
            cache=read.path("WARDSTREAM_CACHE", Path.home() / ".cache" / "wardstream"),
            port_base=port_base,
            kafka_bootstrap=bootstrap or f"127.0.0.1:{port_base + 92}",
            kafka_options=read.pairs("WARDSTREAM_KAFKA_OPTIONS"),
            topic_prefix=read.text("WARDSTREAM_TOPIC_PREFIX", ""),
            kafka_tiered=read.choice("WARDSTREAM_KAFKA_TIERED", "off", ("on", "off")) == "on",
            s3_endpoint=endpoint or f"http://127.0.0.1:{port_base + 33}",
            s3_region=read.text("WARDSTREAM_S3_REGION", "us-east-1"),
            s3_access_key=read.text("WARDSTREAM_S3_ACCESS_KEY", EMBEDDED_ACCESS_KEY),
            s3_secret_key=read.text("WARDSTREAM_S3_SECRET_KEY", "embedded-loopback-only"),
            s3_reader_key=read.text("WARDSTREAM_S3_READER_KEY", EMBEDDED_READER_KEY),
            s3_reader_secret=read.text("WARDSTREAM_S3_READER_SECRET", "embedded-read-only"),
            warehouse=read.text("WARDSTREAM_WAREHOUSE", DEFAULT_WAREHOUSE).rstrip("/"),
            cold_warehouse=_cold(read),
            cold_storage_class=read.choice("WARDSTREAM_COLD_STORAGE_CLASS", "", READABLE_CLASSES),
            upkeep_wait_seconds=read.number("WARDSTREAM_UPKEEP_WAIT_SECONDS", 3600.0, least=60.0),
            erasure_deadline_days=read.integer("WARDSTREAM_ERASURE_DEADLINE_DAYS", 28, least=1, most=92),
            vault_backup_days=read.integer("WARDSTREAM_VAULT_BACKUP_DAYS", 14, least=0, most=365),
            retention=read.choice("WARDSTREAM_RETENTION", "plan", ("plan", "move", "apply")),
            prices=read.pairs("WARDSTREAM_PRICES"),
            catalog_uri=catalog_uri or f"sqlite:///{home / 'catalog' / 'catalog.sqlite'}",
            namespace=read.identifier("WARDSTREAM_NAMESPACE", "wardstream"),
            vault_uri=read.text("WARDSTREAM_VAULT_URI", f"sqlite:///{home / 'vault' / 'vault.sqlite'}"),
            coordination_uri=read.text("WARDSTREAM_COORDINATION_URI", ""),
            runner=read.choice("WARDSTREAM_RUNNER", "embedded", ("embedded", "prism")),
            prism_endpoint=read.text("WARDSTREAM_PRISM_ENDPOINT", f"127.0.0.1:{port_base + 73}"),
            partitions=read.integers("WARDSTREAM_PARTITIONS"),
            takeover=read.choice("WARDSTREAM_TAKEOVER", "on", ("on", "off")) == "on",
            branches=read.choice("WARDSTREAM_BRANCHES", "all", ("alerts", "lake", "all")),
            commit_seconds=read.number("WARDSTREAM_COMMIT_SECONDS", 2.0, least=0.05),
            commit_rows=read.integer("WARDSTREAM_COMMIT_ROWS", 500_000, least=1),
            lake_queue_bytes=read.integer("WARDSTREAM_LAKE_QUEUE_BYTES", 256 << 20, least=1 << 20),
            sql_memory_bytes=read.integer("WARDSTREAM_SQL_MEMORY_BYTES", 4 << 30, least=64 << 20),
            embedded_kafka=not bootstrap,
            embedded_s3=not endpoint,
            embedded_catalog=not catalog_uri,
        )

    def topic(self, stream: str) -> str:
        """The Kafka topic of a stream: its name behind the site's prefix."""
        return f"{self.topic_prefix}{stream}"

    def kafka(self, **options: Any) -> dict[str, Any]:
        """librdkafka configuration of a client: the site's options (TLS, SASL …) under the caller's."""
        return {"bootstrap.servers": self.kafka_bootstrap, **self.kafka_options, **options}


def _intensive_care(read: _Reader) -> dict[str, str]:
    """Ward or pattern -> the kind of intensive care, in the order given; empty where nothing is."""
    name = "WARDSTREAM_INTENSIVE_CARE"
    given = [part.strip() for part in read.text(name, "").split(",")]
    wards = {}
    for part in filter(None, given):
        ward, _, kind = (each.strip() for each in part.partition("="))
        if not ward or ward in wards or kind not in ("", "medical", "surgical") or part.endswith("="):
            raise SettingError(
                f"{name} must be wards parted by commas, each once, each WARD, WARD=medical or WARD=surgical, e.g. "
                "INT-*,CHIR-INT=surgical; mend or unset it (see .env.example)"
            )
        wards[ward] = kind
    return wards


def _cold(read: _Reader) -> str:
    """Where cold files go; empty: nowhere. Apart from the tables, whose unreferenced objects are swept."""
    warehouse = read.text("WARDSTREAM_WAREHOUSE", DEFAULT_WAREHOUSE).rstrip("/") + "/"
    cold = read.text("WARDSTREAM_COLD_WAREHOUSE", "").rstrip("/")
    scheme, _, rest = warehouse.partition("://")
    beside = not f"{cold}/".startswith(warehouse) and not warehouse.startswith(f"{cold}/")
    if cold and not (cold.startswith(f"{scheme}://") and beside):
        raise SettingError(
            f"WARDSTREAM_COLD_WAREHOUSE must be {scheme}://BUCKET/PREFIX beside WARDSTREAM_WAREHOUSE, none in the other"
        )
    bucket = f"{scheme}://{rest.partition('/')[0]}/"
    if cold and scheme == "s3" and not read.text("WARDSTREAM_S3_ENDPOINT", "") and not cold.startswith(bucket):
        raise SettingError(f"WARDSTREAM_COLD_WAREHOUSE must begin with {bucket}: the embedded store has one bucket")
    return cold


@dataclass(frozen=True, slots=True)
class _Reader:
    environment: Mapping[str, str]

    def text(self, name: str, default: str) -> str:
        return self.environment.get(name, "").strip() or default

    def path(self, name: str, default: Path) -> Path:
        return Path(self.text(name, str(default))).expanduser().absolute()

    def optional_path(self, name: str) -> Path | None:
        return self.path(name, Path()) if self.text(name, "") else None

    def number(self, name: str, default: float, least: float) -> float:
        return self._parsed(name, default, float, f"a number of at least {least}", lambda v: v >= least)

    def integer(self, name: str, default: int, least: int, most: int = 1 << 62) -> int:
        shape = f"a whole number from {least}" + (f" to {most}" if most < 1 << 62 else "")
        return self._parsed(name, default, int, shape, lambda v: least <= v <= most)

    def choice(self, name: str, default: str, allowed: tuple[str, ...]) -> str:
        return self._parsed(name, default, str, "one of " + ", ".join(allowed), lambda v: v in allowed)

    def identifier(self, name: str, default: str) -> str:
        return self._parsed(name, default, str, "letters, digits and _", lambda v: v.isidentifier())

    def integers(self, name: str) -> tuple[int, ...] | None:
        """Whole numbers parted by commas; None where nothing is given."""
        return self._parsed(
            name,
            None,
            lambda given: tuple(sorted({int(part) for part in given.split(",")})),
            "whole numbers from 0 parted by commas",
            lambda numbers: min(numbers or ()) >= 0,
        )

    def pairs(self, name: str) -> dict[str, str]:
        """`key=value` pairs parted by commas."""
        items = [item for item in self.text(name, "").split(",") if item]
        if any("=" not in item for item in items):
            raise SettingError(f"{name} must be key=value pairs parted by commas; mend or unset it")
        return dict(item.split("=", 1) for item in items)

    def _parsed(self, name: str, default: T, parse: Callable[[str], T], shape: str, ok: Callable[[T], bool]) -> T:
        given = self.environment.get(name, "").strip()
        if not given:
            return default
        try:
            value = parse(given)
        except ValueError:
            value = None
        if value is None or not ok(value):
            raise SettingError(f"{name} must be {shape}; mend or unset it (see .env.example)")
        return value
