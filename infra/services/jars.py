"""Jars by a lock file, the embedded broker's above all: which ones, how they come, and the proof that they are right.

Holds: the lock file's meaning, the cache (one folder per user and Kafka version), the two ways to fill it:
the pure-Python Maven client `jgo`, and the Maven client itself, which knows a site's mirrors.
Does not hold: any repository's address, nor how the broker is started.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

KAFKA_VERSION = "4.3.1"
LOCK_FILE = Path(__file__).with_name(f"kafka-{KAFKA_VERSION}.lock.tsv")
DOWNLOADS_AT_ONCE = 4
DOWNLOAD_TRIES = 3
MAVEN_SECONDS = 600

Progress = Callable[[str], None]


class JarError(RuntimeError):
    """A jar could not be had, is not the one that was locked, or the cache cannot be written."""


@dataclass(frozen=True, slots=True)
class LockedJar:
    """One jar by its Maven coordinates, with the SHA-256 (hex) and size (bytes) that it must have."""

    group: str
    artifact: str
    version: str
    sha256: str
    size: int

    @property
    def file_name(self) -> str:
        return f"{self.artifact}-{self.version}.jar"

    @property
    def coordinates(self) -> str:
        return f"{self.group}:{self.artifact}:{self.version}"


def read_lock(lock_file: Path = LOCK_FILE) -> tuple[LockedJar, ...]:
    """Every jar of a lock file: `group:artifact:version <TAB> sha256 <TAB> bytes`, `#` for remarks."""
    lines = (line for line in lock_file.read_text().splitlines() if line and not line.startswith("#"))
    return tuple(_locked_jar(line) for line in lines)


def kafka_folder(cache: Path) -> Path:
    """Where the broker's jars lie once fetched."""
    return cache / f"kafka-{KAFKA_VERSION}"


def missing(folder: Path, jars: tuple[LockedJar, ...]) -> list[LockedJar]:
    """Jars that are not in the folder or whose size differs. Cheap; `fetch_kafka` also checks each new hash."""
    return [jar for jar in jars if not _has_size(folder / jar.file_name, jar.size)]


def fetch_kafka(cache: Path, progress: Progress, jars: tuple[LockedJar, ...] | None = None) -> Path:
    """The folder with every jar of the broker, each with its locked hash; fetches what is missing.

    Safe when several processes ask at once: one fetches, the others wait. Raises `JarError`.
    """
    return fetch(kafka_folder(cache), f"Kafka {KAFKA_VERSION}", read_lock() if jars is None else jars, progress)


def fetch(folder: Path, what: str, jars: tuple[LockedJar, ...], progress: Progress) -> Path:
    """The same for any jars, into `folder`, which is made beside its lock; `what` names them for the progress."""
    if not missing(folder, jars):
        return folder
    with exclusive(folder.parent, folder.name):
        if absent := missing(folder, jars):
            progress(
                f"fetching {len(absent)} jars of {what} ({sum(j.size for j in absent) / 1e6:.0f} MB) into {folder}"
            )
            _fetch(absent, folder, progress)
    return folder


@contextmanager
def exclusive(cache: Path, name: str) -> Generator[None]:
    """Hold the cache's lock of that name: one process at a time. Raises `JarError` where it cannot be written."""
    try:
        cache.mkdir(parents=True, exist_ok=True)
        handle = os.open(cache / f"{name}.lock", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise JarError(f"cannot write the cache {cache} ({error.strerror}): set WARDSTREAM_CACHE elsewhere") from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _locked_jar(line: str) -> LockedJar:
    coordinates, sha256, size = line.split("\t")
    group, artifact, version = coordinates.split(":")
    return LockedJar(group, artifact, version, sha256, int(size))


def _has_size(path: Path, size: int) -> bool:
    try:
        return path.stat().st_size == size
    except OSError:
        return False


def _fetch(absent: list[LockedJar], folder: Path, progress: Progress) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix="fetch-") as scratch:
        failed = _fetch_by_jgo(absent, folder, Path(scratch), progress)
        if failed:
            _fetch_by_maven(failed, folder, Path(scratch))
    if absent := missing(folder, tuple(absent)):
        raise JarError(f"still missing: {', '.join(jar.coordinates for jar in absent)}")


def _fetch_by_jgo(absent: list[LockedJar], folder: Path, scratch: Path, progress: Progress) -> dict[LockedJar, str]:
    """Fetch jar by jar, without resolving dependencies (left to itself jgo mixes versions that do not start).

    Returns the jars that could not be fetched with the reason. Raises `JarError` for a wrong hash.
    """
    from jgo.config import GlobalSettings
    from jgo.constants import MAVEN_CENTRAL_URL
    from jgo.maven import MavenContext

    repositories = {"central": MAVEN_CENTRAL_URL, **GlobalSettings.load().repositories}
    context = MavenContext(repo_cache=scratch / "jgo", remote_repos=repositories, local_repos=[], timeout=60)

    def fetch(jar: LockedJar) -> str:
        artifact = context.project(jar.group, jar.artifact).at_version(jar.version).artifact()
        failure = ""
        for _ in range(DOWNLOAD_TRIES):
            try:
                _keep(artifact.resolve(), jar, folder)
                return ""
            except JarError:
                raise
            except Exception as error:
                failure = type(error).__name__
                (artifact.cached_path or scratch / "none").unlink(missing_ok=True)
        return failure

    with ThreadPoolExecutor(DOWNLOADS_AT_ONCE) as pool:
        failures: dict[LockedJar, str] = {}
        for done, (jar, failure) in enumerate(zip(absent, pool.map(fetch, absent), strict=True), start=1):
            if failure:
                failures[jar] = failure
            elif done % 10 == 0 or done == len(absent):
                progress(f"{done} of {len(absent)} jars")
    return failures


def _fetch_by_maven(absent: dict[LockedJar, str], folder: Path, scratch: Path) -> None:
    names = ", ".join(f"{jar.coordinates} ({why})" for jar, why in absent.items())
    maven = shutil.which("mvn")
    if not maven:
        raise JarError(
            f"could not fetch {names}: is the Maven repository reachable? A Maven client on PATH is tried too"
        )
    pom, target = scratch / "pom.xml", scratch / "maven"
    pom.write_text(_pom(list(absent)))
    goal = ("dependency:copy-dependencies", "-DexcludeTransitive=true", f"-DoutputDirectory={target}")
    try:
        command = [maven, "-q", "-B", "-f", str(pom), *goal]
        subprocess.run(command, check=True, capture_output=True, timeout=MAVEN_SECONDS)
    except (subprocess.SubprocessError, OSError) as error:
        raise JarError(f"could not fetch {names}; nor could the Maven client ({type(error).__name__})") from error
    for jar in absent:
        _keep(target / jar.file_name, jar, folder)


def _pom(jars: list[LockedJar]) -> str:
    dependencies = "".join(
        f"<dependency><groupId>{jar.group}</groupId><artifactId>{jar.artifact}</artifactId>"
        f"<version>{jar.version}</version></dependency>"
        for jar in jars
    )
    return (
        "<project><modelVersion>4.0.0</modelVersion><groupId>wardstream</groupId><artifactId>jars</artifactId>"
        f"<version>1</version><packaging>pom</packaging><dependencies>{dependencies}</dependencies></project>"
    )


def _keep(source: Path, jar: LockedJar, folder: Path) -> None:
    """Move a fetched jar into the cache, whole or not at all, once its hash is the locked one."""
    found = hashlib.sha256(source.read_bytes()).hexdigest()
    if found != jar.sha256:
        raise JarError(
            f"{jar.coordinates} has SHA-256 {found}, locked is {jar.sha256}: the repository served something else; "
            "nothing was kept. Do not run it; ask who serves your Maven repository"
        )
    partial = folder / f"{jar.file_name}.part"
    shutil.copyfile(source, partial)
    os.replace(partial, folder / jar.file_name)
