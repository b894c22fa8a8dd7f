"""What a process of a verification does to an object store: writes, reads, lists, overwrites, deletes, conditions.

Holds: the jobs, and a client with a single attempt a request (a repeated conditional write would seem to lose against
itself). All objects lie below the location of a table that was made for it.
Does not hold: any judgement, nor which of these the product needs.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from threading import Barrier
from typing import Any
from urllib.parse import urlsplit

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from warehouse.catalog import CONNECT_SECONDS, REQUEST_SECONDS
from warehouse.settings import Settings
from warehouse.verification.crew import Post, named
from warehouse.verification.judgement import STORE_CHECKS
from warehouse.verification.plan import Subject
from warehouse.verification.reports import Tried

MOST_DELETED = 1000
MOST_THREADS = 16
LARGE_BYTES = 12 << 20
"""Beyond one request: Arrow sends such an object in parts."""

LOST_RACE = ("PreconditionFailed", "ConditionalRequestConflict", "412", "409")
ABSENT = ("NoSuchKey", "404")


def open_store(settings: Settings) -> Any:
    """An S3 client, one attempt a request."""
    return boto3.client(
        "s3",
        endpoint_url=settings.s3_endpoint,
        aws_access_key_id=settings.s3_access_key,
        aws_secret_access_key=settings.s3_secret_key,
        region_name=settings.s3_region,
        config=Config(
            connect_timeout=CONNECT_SECONDS,
            read_timeout=REQUEST_SECONDS,
            retries={"total_max_attempts": 1},
            max_pool_connections=MOST_THREADS,
        ),
    )


def try_objects(post: Post, subject: Subject, table: str, objects: int, racers: int) -> None:
    """Every behaviour of the store, one report each; `objects` are tried, `racers` write the same one at a time."""
    place = urlsplit(_location(subject, table))
    if place.scheme != "s3":
        for check in STORE_CHECKS:
            post.tell(Tried(check, 0, 0, untried="the warehouse does not lie on S3"))
        return
    trial = _Trial(
        named(subject.open_store)(subject.settings),
        named(subject.open_store)(subject.settings),
        place.netloc,
        f"{place.path.strip('/')}/data/",
    )
    tries: dict[str, Callable[[str], Tried]] = {
        "read after write": lambda check: _reading(check, trial, objects),
        "list after write": lambda check: _listing(check, trial, objects),
        "read after overwrite": lambda check: _overwriting(check, trial, objects),
        "delete": lambda check: _deleting(check, trial, objects),
        "If-None-Match": lambda check: _racing_to_create(check, trial, objects, racers),
        "If-Match": lambda check: _racing_to_replace(check, trial, objects, racers),
    }
    for check, attempt in tries.items():
        try:
            post.tell(attempt(check))
        except (BotoCoreError, ClientError) as error:
            post.tell(Tried(check, 0, 0, untried=f"the store answered {_code(error)}"))


def delete_below(client: Any, bucket: str, prefix: str) -> None:
    """Delete every object whose name begins so. Raises botocore's errors."""
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    names = [{"Key": found["Key"]} for page in pages for found in page.get("Contents", [])]
    for first in range(0, len(names), MOST_DELETED):
        client.delete_objects(Bucket=bucket, Delete={"Objects": names[first : first + MOST_DELETED], "Quiet": True})


@dataclass(frozen=True, slots=True)
class _Trial:
    """Two clients with connections of their own (what one writes the other reads), and where the objects lie."""

    writer: Any
    reader: Any
    bucket: str
    prefix: str

    def put(self, name: str, content: bytes, **condition: str) -> str:
        """The new object's tag."""
        said = self.writer.put_object(Bucket=self.bucket, Key=self.prefix + name, Body=content, **condition)
        return said["ETag"]

    def get(self, name: str) -> bytes | None:
        """What is there; None for nothing."""
        try:
            return self.reader.get_object(Bucket=self.bucket, Key=self.prefix + name)["Body"].read()
        except ClientError as error:
            if _code(error) in ABSENT:
                return None
            raise

    def listed(self, name: str) -> bool:
        """Whether a listing of the names that begin like this one names it."""
        found = self.reader.list_objects_v2(Bucket=self.bucket, Prefix=self.prefix + name)
        return self.prefix + name in {entry["Key"] for entry in found.get("Contents", [])}

    def delete(self, name: str) -> None:
        """As the product deletes."""
        listed = {"Objects": [{"Key": self.prefix + name}], "Quiet": True}
        self.writer.delete_objects(Bucket=self.bucket, Delete=listed)


def _location(subject: Subject, table: str) -> str:
    return named(subject.open_catalog)(subject.settings).load_table(subject.identifier(table)).location()


def _reading(check: str, trial: _Trial, objects: int) -> Tried:
    contents = {f"read-{n}.parquet": bytes([n % 256]) * (n + 1) for n in range(objects)}
    contents["read-large.parquet"] = b"\x5a" * LARGE_BYTES
    wrong = 0
    for name, content in contents.items():
        trial.put(name, content)
        wrong += trial.get(name) != content
    return Tried(check, len(contents), wrong, "not there, or other bytes, right after they were written")


def _listing(check: str, trial: _Trial, objects: int) -> Tried:
    wrong = 0
    for n in range(objects):
        trial.put(f"list-{n}.parquet", b"listed")
        wrong += not trial.listed(f"list-{n}.parquet")
    return Tried(check, objects, wrong, "missing in a listing right after they were written")


def _overwriting(check: str, trial: _Trial, objects: int) -> Tried:
    wrong = 0
    for n in range(objects):
        trial.put("overwritten.parquet", b"%d" % n)
        wrong += trial.get("overwritten.parquet") != b"%d" % n
    return Tried(check, objects, wrong, "read as they were before they were overwritten")


def _deleting(check: str, trial: _Trial, objects: int) -> Tried:
    wrong = 0
    for n in range(objects):
        name = f"deleted-{n}.parquet"
        trial.put(name, b"deleted")
        trial.delete(name)
        wrong += trial.listed(name) or trial.get(name) is not None
    return Tried(check, objects, wrong, "still listed or read after they were deleted")


def _racing_to_create(check: str, trial: _Trial, objects: int, racers: int) -> Tried:
    def names(n: int) -> tuple[str, dict[str, str]]:
        return f"created-{n}.parquet", {"IfNoneMatch": "*"}

    return _races(check, trial, objects, racers, names)


def _racing_to_replace(check: str, trial: _Trial, objects: int, racers: int) -> Tried:
    def names(n: int) -> tuple[str, dict[str, str]]:
        name = f"replaced-{n}.parquet"
        return name, {"IfMatch": trial.put(name, b"first")}

    return _races(check, trial, objects, racers, names)


def _races(
    check: str, trial: _Trial, objects: int, racers: int, names: Callable[[int], tuple[str, dict[str, str]]]
) -> Tried:
    """Races of `racers` threads for one object each; wrong is one with two winners, or where other bytes stand."""
    start, wrong, won = Barrier(racers), 0, 0
    with ThreadPoolExecutor(racers) as pool:
        for n in range(objects):
            name, condition = names(n)
            outcomes = list(pool.map(partial(_wins, trial, start, name, condition), range(racers)))
            winners = [_content(racer) for racer, has_won in enumerate(outcomes) if has_won]
            won += bool(winners)
            wrong += len(winners) > 1 or (len(winners) == 1 and trial.get(name) != winners[0])
    if not won:
        return Tried(check, objects, 0, untried="no conditional write was accepted")
    return Tried(check, objects, wrong, f"races of {racers} writers with two winners, or with a loser's bytes")


def _wins(trial: _Trial, start: Barrier, name: str, condition: dict[str, str], racer: int) -> bool:
    start.wait()
    try:
        trial.put(name, _content(racer), **condition)
    except ClientError as error:
        if _code(error) in LOST_RACE:
            return False
        raise
    return True


def _content(racer: int) -> bytes:
    return b"%d" % racer


def _code(error: Exception) -> str:
    return error.response.get("Error", {}).get("Code", "") if isinstance(error, ClientError) else type(error).__name__
