"""The object store as the lake uses it: whole objects under names that are used once.

Holds: pyiceberg's FileIO with one PUT an object, with time-outs and retries set.
Does not hold: what is in the objects, or when one may be deleted.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import pyarrow as pa
from pyarrow.fs import AwsStandardS3RetryStrategy, FileSystem, S3FileSystem
from pyiceberg.io import OutputStream
from pyiceberg.io.pyarrow import PyArrowFile, PyArrowFileIO

UNBUFFERED = 0


class StoreUnavailableError(Exception):
    """Store or catalog did not answer, or not in time. Nothing is lost: the same call may be made again."""


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

    def delete_many(self, locations: list[str]) -> None:
        """Delete objects, those of one bucket in one request; what is not there is no error. Raises OSError or
        botocore's errors, with some deleted and some not."""
        by_bucket: dict[str, list[dict[str, str]]] = defaultdict(list)
        for location in locations:
            scheme, bucket, path = self.parse_location(location, self.properties)
            if scheme != "s3":
                self.delete(location)
                continue
            by_bucket[bucket].append({"Key": path.removeprefix(f"{bucket}/")})
        for bucket, objects in by_bucket.items():
            # Arrow's own delete asks first, deletes one by one, and leaves a folder marker behind each.
            self._client().delete_objects(Bucket=bucket, Delete={"Objects": objects, "Quiet": True})

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
