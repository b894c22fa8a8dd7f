"""`doctor`: what this machine has, what is missing, how to get it; and `install`, which gets what can be fetched.

Holds: the checks and their remedies. Does not hold: the parts themselves (infra.services).
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path

from infra.services import jars, java, ports, prism, store
from infra.services.home import PidFile
from infra.services.parts import PARTS, ports_needed
from warehouse.settings import Settings

ALL_WELL, SOMETHING_MISSING = 0, 1
OLDEST_PYTHON, NEXT_PYTHON = (3, 11), (3, 14)
DISK_BYTES = 2 << 30
PACKAGES = ("apache-beam", "confluent-kafka", "pyiceberg", "pyarrow", "duckdb", "dagster", "great-expectations")


@dataclass(frozen=True, slots=True)
class Check:
    """One thing looked for. `state` is `ok`, `missing`, `taken` (a port), or `optional` (absent, needed only for what
    `remedy` says)."""

    name: str
    state: str
    found: str
    remedy: str = ""


def doctor(settings: Settings, as_json: bool = False) -> int:
    """Print every check. 0 when nothing that is needed is missing, 1 otherwise."""
    checks = examine(settings)
    if as_json:
        print(json.dumps([asdict(check) for check in checks]))
    else:
        _print_lines(checks)
    return SOMETHING_MISSING if any(check.state in ("missing", "taken") for check in checks) else ALL_WELL


def install(settings: Settings, progress: Callable[[str], None]) -> int:
    """Fetch what the embedded parts need and prove it. 0, or 1 with the reason told."""
    try:
        folder = jars.fetch_kafka(settings.cache, progress)
    except jars.JarError as error:
        progress(str(error))
        return SOMETHING_MISSING
    progress(f"Kafka {jars.KAFKA_VERSION} is in {folder}")
    return ALL_WELL


def examine(settings: Settings) -> list[Check]:
    """All checks, in the order in which a person would mend them."""
    return [
        _python(),
        _platform(),
        _packages(),
        _java(settings),
        _jars(settings),
        _weed(settings),
        _writable("home", settings.home, "WARDSTREAM_HOME"),
        _writable("cache", settings.cache, "WARDSTREAM_CACHE"),
        _disk(settings),
        _ports(settings),
        _prism(settings),
        _postgresql(settings),
    ]


def _python() -> Check:
    version = sys.version_info[:2]
    fits = OLDEST_PYTHON <= version < NEXT_PYTHON
    return _check("Python", fits, f"{version[0]}.{version[1]}", "install Python 3.11, then `make install`")


def _platform() -> Check:
    return _check("system", sys.platform == "linux", sys.platform, "the embedded parts are run on Linux only")


def _packages() -> Check:
    absent = [name for name in PACKAGES if not _version(name)]
    found = "all there" if not absent else f"without {', '.join(absent)}"
    return _check("packages", not absent, found, "run `make install`")


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _java(settings: Settings) -> Check:
    try:
        return _check("Java", True, str(java.find_java()))
    except java.JavaMissingError as error:
        return _needed("Java", settings.embedded_kafka, "none", str(error))


def _jars(settings: Settings) -> Check:
    folder = jars.kafka_folder(settings.cache)
    locked = jars.read_lock()
    absent = jars.missing(folder, locked)
    found = f"{len(locked) - len(absent)} of {len(locked)} jars in {folder}"
    if not absent:
        return _check("Kafka", True, found)
    return _needed("Kafka", settings.embedded_kafka, found, "run `wardstream doctor --install`")


def _weed(settings: Settings) -> Check:
    try:
        weed = store.require_version()
    except store.StoreVersionError as error:
        return _needed("SeaweedFS", settings.embedded_s3, "none that can be used", str(error))
    version = store.version_of(weed)
    return _check("SeaweedFS", True, f"{version[0]}.{version[1]}" if version else "unknown")


def _writable(name: str, folder: Path, variable: str) -> Check:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return _check(name, True, str(folder))
    except OSError as error:
        return _check(name, False, f"{folder}: {error.strerror}", f"set {variable} to a folder you may write")


def _disk(settings: Settings) -> Check:
    folder = next(path for path in (settings.home, *settings.home.parents) if path.exists())
    free = shutil.disk_usage(folder).free
    return _check(
        "disk",
        free >= DISK_BYTES,
        f"{free / 1e9:.0f} GB free at {folder}",
        "free 2 GB, or set WARDSTREAM_HOME elsewhere",
    )


def _ports(settings: Settings) -> Check:
    base = settings.port_base
    if PidFile(settings).holder():
        return _check("ports", True, "in use by this home's own parts")
    line = ports.occupied(base, ports_needed(settings, PARTS))
    found, _, remedy = line.partition("; ")
    return Check("ports", "taken" if line else "ok", found or f"{base} to {base + ports.SPAN - 1} are free", remedy)


def _prism(settings: Settings) -> Check:
    binary = prism.prism_binary(settings.cache)
    if binary.exists():
        return _check("Prism", True, f"{binary} (only for WARDSTREAM_RUNNER=prism)")
    go = prism.find_go()
    remedy = "only for WARDSTREAM_RUNNER=prism: " + ("built at its first use" if go else "install Go 1.25 or newer")
    return _needed("Prism", settings.runner == "prism" and not go, f"not built; Go: {go or 'none'}", remedy)


def _postgresql(settings: Settings) -> Check:
    if found := find_postgresql():
        return _check("PostgreSQL", True, f"{found} (only for `make test`)")
    remedy = "only for `make test` (tests of a shared catalog): install Debian's package postgresql"
    return _needed("PostgreSQL", False, "none", remedy)


def find_postgresql() -> Path | None:
    """The folder of PostgreSQL's server programs: beside `initdb` on PATH, or where Debian puts them; else None."""
    if on_path := shutil.which("initdb"):
        return Path(os.path.realpath(on_path)).parent
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return found[-1].parent if found else None


def _check(name: str, fits: bool, found: str, remedy: str = "") -> Check:
    return Check(name, "ok" if fits else "missing", found, "" if fits else remedy)


def _needed(name: str, needed: bool, found: str, remedy: str) -> Check:
    return Check(name, "missing" if needed else "optional", found, remedy)


def _print_lines(checks: list[Check]) -> None:
    """A line a check, its remedy below it: no path is wrapped or cut."""
    name_width, state_width = (
        max(map(len, column)) for column in zip(*((c.name, c.state) for c in checks), strict=True)
    )
    for check in checks:
        print(f"{check.name:{name_width}}  {check.state:{state_width}}  {check.found}")
        if check.remedy:
            print(f"{'':{name_width}}  {'':{state_width}}  {check.remedy}")
