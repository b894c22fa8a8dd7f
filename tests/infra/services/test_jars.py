"""Only the locked bytes get into the cache, whoever served them and whoever asks at once."""

from __future__ import annotations

import functools
import hashlib
import multiprocessing
from pathlib import Path

import pytest

from infra.services import jars
from infra.services.jars import JarError, LockedJar, fetch_kafka, kafka_folder, missing, read_lock

CONTENT = b"a jar"


def _jar(content: bytes = CONTENT) -> LockedJar:
    return LockedJar("org.example", "thing", "1.0", hashlib.sha256(content).hexdigest(), len(content))


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository on disk in Maven's layout, the only one that the Maven client of the product gets to see."""
    from jgo.maven import MavenContext

    repository = tmp_path / "repository"
    target = repository / "org/example/thing/1.0/thing-1.0.jar"
    target.parent.mkdir(parents=True)
    target.write_bytes(CONTENT)
    local = functools.partial(MavenContext, local_repos=[repository])
    monkeypatch.setattr("jgo.maven.MavenContext", lambda repo_cache, **_: local(repo_cache=repo_cache, remote_repos={}))
    monkeypatch.setattr(jars.shutil, "which", lambda name: None)
    return target


def test_the_lock_names_a_whole_broker() -> None:
    locked = read_lock()
    assert len(locked) == 47
    assert len({jar.file_name for jar in locked}) == 47
    assert {"kafka_2.13", "kafka-clients", "log4j-slf4j-impl"} <= {jar.artifact for jar in locked}
    assert all(len(jar.sha256) == 64 for jar in locked)


def test_a_jar_with_its_locked_hash_is_kept(tmp_path: Path, served: Path) -> None:
    told: list[str] = []
    folder = fetch_kafka(tmp_path / "cache", told.append, (_jar(),))
    assert (folder / "thing-1.0.jar").read_bytes() == CONTENT
    assert told[0].startswith("fetching 1 jars of Kafka 4.3.1")
    served.unlink()
    assert fetch_kafka(tmp_path / "cache", told.append, (_jar(),)) == folder


def test_a_jar_with_another_hash_is_refused_and_not_kept(tmp_path: Path, served: Path) -> None:
    served.write_bytes(b"a jxr")
    with pytest.raises(JarError, match="served something else"):
        fetch_kafka(tmp_path / "cache", lambda line: None, (_jar(),))
    assert missing(kafka_folder(tmp_path / "cache"), (_jar(),)) == [_jar()]


def test_a_jar_that_cannot_be_had_is_named(tmp_path: Path, served: Path) -> None:
    served.unlink()
    with pytest.raises(JarError, match=r"org\.example:thing:1\.0"):
        fetch_kafka(tmp_path / "cache", lambda line: None, (_jar(),))


def test_a_cache_that_cannot_be_written_names_the_variable(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file, not a folder")
    with pytest.raises(JarError, match="WARDSTREAM_CACHE"):
        fetch_kafka(tmp_path / "cache", lambda line: None, (_jar(),))


def test_a_half_written_jar_is_fetched_again(tmp_path: Path, served: Path) -> None:
    folder = kafka_folder(tmp_path / "cache")
    folder.mkdir(parents=True)
    (folder / "thing-1.0.jar").write_bytes(b"a j")
    fetch_kafka(tmp_path / "cache", lambda line: None, (_jar(),))
    assert (folder / "thing-1.0.jar").read_bytes() == CONTENT


def _hold(cache: Path, held, release) -> None:
    with jars.exclusive(cache, "kafka-4.3.1"):
        held.set()
        release.wait(30)


def test_one_process_fetches_while_others_wait(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    held, release, second = context.Event(), context.Event(), context.Event()
    done = context.Event()
    done.set()
    first = context.Process(target=_hold, args=(tmp_path / "cache", held, release))
    first.start()
    assert held.wait(30)
    other = context.Process(target=_hold, args=(tmp_path / "cache", second, done))
    other.start()
    assert not second.wait(1.0)
    release.set()
    assert second.wait(30)
    first.join()
    other.join()
