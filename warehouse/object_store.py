"""The object store as the lake uses it: whole objects under names that are used once.

Holds: pyiceberg's FileIO with one PUT an object, with time-outs and retries set.
Does not hold: what is in the objects, or when one may be deleted.
"""

from __future__ import annotations

import shutil
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

import pyarrow as pa
from pyarrow.fs import AwsStandardS3RetryStrategy, FileSystem, S3FileSystem
from pyiceberg.io import OutputStream
from pyiceberg.io.pyarrow import PyArrowFile, PyArrowFileIO

from warehouse.settings import Settings

UNBUFFERED = 0
ANSWER_SECONDS = 3.0
DELETED_AT_ONCE = 1_000
"""As many keys as S3 takes in one request."""


class StoreUnavailableError(Exception):
    """Store or catalog did not answer, or not in time. Nothing is lost: the same call may be made again."""


def require_answer(settings: Settings) -> None:
    """Raises `StoreUnavailableError` where the store does not answer a plain request: said within seconds, where a
    library that reads on would try for minutes. Whatever it answers, it is there."""
    if not settings.warehouse.startswith("s3:"):
        return
    try:
        urlopen(settings.s3_endpoint, timeout=ANSWER_SECONDS).close()
    except HTTPError:
        pass
    except (OSError, HTTPException) as error:
        raise StoreUnavailableError(
            f"the store at {settings.s3_endpoint} does not answer ({type(error).__name__})"
        ) from error


@dataclass(frozen=True, slots=True)
class StoredObject:
    """An object as it was listed. `modified_at` by the store's clock."""

    location: str
    size_bytes: int
    modified_at: datetime


@dataclass(frozen=True, slots=True)
class Listing:
    """All objects under a prefix, and the store's time when the last of them was listed."""

    objects: tuple[StoredObject, ...]
    at: datetime


class _NewObject(PyArrowFile):
    """An object that does not exist yet: its name holds a fresh uuid, so nobody asks the store whether it does."""

    def create(self, overwrite: bool = False) -> OutputStream:
        return super().create(overwrite=True)


class SinglePutFileIO(PyArrowFileIO):
    """pyiceberg's Arrow FileIO, writing each object in one request as long as it fits one (below 10 MiB or so)."""

    def new_output(self, location: str) -> PyArrowFile:
        scheme, netloc, path = self.parse_location(location, self.properties)
        return _NewObject(location, path, self.fs_by_scheme(scheme, netloc), buffer_size=UNBUFFERED)

    def put(self, location: str, data: pa.Buffer | bytes) -> None:
        """Write one object. Raises OSError; then it may be there or not, and nobody refers to it."""
        with self.new_output(location).create() as stream:
            stream.write(data)

    def listed(self, prefix: str) -> Listing:
        """Every object whose location begins with `prefix`. Raises OSError or botocore's errors."""
        scheme, bucket, path = self.parse_location(prefix, self.properties)
        if scheme != "s3":
            return Listing(tuple(_files_under(prefix, path)), datetime.now(UTC))
        key, found, at = path.removeprefix(f"{bucket}/"), [], None
        for page in self._client().get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=key):
            at = parsedate_to_datetime(page["ResponseMetadata"]["HTTPHeaders"]["date"])
            for each in page.get("Contents", ()):
                found.append(StoredObject(f"s3://{bucket}/{each['Key']}", each["Size"], each["LastModified"]))
        assert at is not None, "a listing has a page, be it an empty one"
        return Listing(tuple(found), at)

    def copy(self, source: str, target: str, storage_class: str = "") -> None:
        """Copy one object within the store, byte for byte, without its bytes passing here. `storage_class`: S3's word
        for the target's; empty: its bucket's own. Raises OSError or botocore's errors; then the target may be there."""
        scheme, bucket, path = self.parse_location(source, self.properties)
        _, target_bucket, target_path = self.parse_location(target, self.properties)
        if scheme != "s3":
            Path(target_path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target_path)
            return
        # boto3's own copy sends large objects in parts.
        self._client().copy(
            {"Bucket": bucket, "Key": path.removeprefix(f"{bucket}/")},
            target_bucket,
            target_path.removeprefix(f"{target_bucket}/"),
            ExtraArgs={"StorageClass": storage_class} if storage_class else None,
        )

    def delete_many(self, locations: list[str]) -> None:
        """Delete objects, up to a thousand of one bucket in a request; what is not there is no error. Raises OSError
        or botocore's errors, with some deleted and some not."""
        by_bucket: dict[str, list[dict[str, str]]] = defaultdict(list)
        for location in locations:
            scheme, bucket, path = self.parse_location(location, self.properties)
            if scheme != "s3":
                Path(path).unlink(missing_ok=True)
                continue
            by_bucket[bucket].append({"Key": path.removeprefix(f"{bucket}/")})
        for bucket, objects in by_bucket.items():
            for start in range(0, len(objects), DELETED_AT_ONCE):
                self._delete(bucket, objects[start : start + DELETED_AT_ONCE])

    def leftovers(self, prefix: str) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
        """What a bucket keeps under `prefix` beside its objects: (location, version id) of versions that are not the
        newest and of delete markers, and (location, upload id) of uploads that nobody ended. Raises as `listed`."""
        scheme, bucket, path = self.parse_location(prefix, self.properties)
        if scheme != "s3":
            return [], []
        key, client = path.removeprefix(f"{bucket}/"), self._client()
        versions, uploads = [], []
        for page in client.get_paginator("list_object_versions").paginate(Bucket=bucket, Prefix=key):
            old = [each for each in page.get("Versions", ()) if not each["IsLatest"]]
            versions += [(f"s3://{bucket}/{e['Key']}", e["VersionId"]) for e in (*old, *page.get("DeleteMarkers", ()))]
        for page in client.get_paginator("list_multipart_uploads").paginate(Bucket=bucket, Prefix=key):
            uploads += [(f"s3://{bucket}/{e['Key']}", e["UploadId"]) for e in page.get("Uploads", ())]
        return versions, uploads

    def clear(self, versions: list[tuple[str, str]], uploads: list[tuple[str, str]]) -> None:
        """Delete versions and end uploads, as `leftovers` gives them. Raises as `delete_many`."""
        if not versions and not uploads:
            return
        client = self._client()
        for location, version in versions:
            bucket, key = self._bucket_and_key(location)
            client.delete_object(Bucket=bucket, Key=key, VersionId=version)
        for location, upload in uploads:
            bucket, key = self._bucket_and_key(location)
            client.abort_multipart_upload(Bucket=bucket, Key=key, UploadId=upload)

    def _bucket_and_key(self, location: str) -> tuple[str, str]:
        _, bucket, path = self.parse_location(location, self.properties)
        return bucket, path.removeprefix(f"{bucket}/")

    def _delete(self, bucket: str, objects: list[dict[str, str]]) -> None:
        # Arrow's own delete asks first, deletes one by one, and leaves a folder marker behind each.
        answer = self._client().delete_objects(Bucket=bucket, Delete={"Objects": objects, "Quiet": True})
        if refused := answer.get("Errors"):
            raise OSError(f"the store did not delete {len(refused)} of {len(objects)} objects: {refused[0]['Code']}")

    def _client(self) -> Any:
        import boto3
        from botocore.config import Config

        connect, read, attempts = _limits(self.properties)
        return boto3.client(
            "s3",
            endpoint_url=self.properties["s3.endpoint"],
            aws_access_key_id=self.properties["s3.access-key-id"],
            aws_secret_access_key=self.properties["s3.secret-access-key"],
            region_name=self.properties["s3.region"],
            config=Config(connect_timeout=connect, read_timeout=read, retries={"total_max_attempts": attempts}),
        )

    def _initialize_s3_fs(self, netloc: str | None) -> FileSystem:
        return S3FileSystem(**_s3_options(self.properties))


def _files_under(prefix: str, path: str) -> Iterator[StoredObject]:
    """Files of a local folder, where a folder stands in for a store."""
    for file in sorted(Path(path).rglob("*")):
        if file.is_file():
            state = file.stat()
            location = prefix.rstrip("/") + "/" + file.relative_to(path).as_posix()
            yield StoredObject(location, state.st_size, datetime.fromtimestamp(state.st_mtime, UTC))


def _limits(properties: dict[str, Any]) -> tuple[float, float, int]:
    """Seconds to connect, seconds to answer, attempts."""
    connect, request = properties["s3.connect-timeout"], properties["s3.request-timeout"]
    return float(connect), float(request), int(properties["s3.retry-attempts"])


def _s3_options(properties: dict[str, Any]) -> dict[str, Any]:
    connect, request, attempts = _limits(properties)
    return {
        "endpoint_override": properties["s3.endpoint"],
        "access_key": properties["s3.access-key-id"],
        "secret_key": properties["s3.secret-access-key"],
        "region": properties["s3.region"],
        "connect_timeout": connect,
        "request_timeout": request,
        "retry_strategy": AwsStandardS3RetryStrategy(max_attempts=attempts),
        "allow_delayed_open": True,
        "background_writes": False,
    }
