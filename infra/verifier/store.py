"""The object store as a verifier asks it: by paths, and by the versions that a bucket keeps of what was deleted.

Holds: the two ways of asking S3. Does not hold: what is looked for (verify.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import boto3
from botocore.config import Config
from pyarrow.fs import FileSystem, FileType, S3FileSystem

CONNECT_SECONDS, ANSWER_SECONDS = 5, 20


@dataclass(frozen=True, slots=True)
class Store:
    """Objects of a store. `files`: as they are now. `client`: boto3's, for versions; None where there are none."""

    files: FileSystem
    client: Any = None
    _versioned: dict[str, bool] = field(default_factory=dict)

    def has(self, path: str) -> bool:
        """Whether the object at `bucket/key` is there, or a version of it. Raises OSError."""
        return self.files.get_file_info(path).type == FileType.File or self._has_version(path)

    def _has_version(self, path: str) -> bool:
        """A bucket that never kept versions is not asked for each object; a delete marker is a trace, no object."""
        if self.client is None:
            return False
        bucket, _, key = path.partition("/")
        try:
            if bucket not in self._versioned:
                self._versioned[bucket] = bool(self.client.get_bucket_versioning(Bucket=bucket).get("Status"))
            if not self._versioned[bucket]:
                return False
            pages = self.client.get_paginator("list_object_versions").paginate(Bucket=bucket, Prefix=key)
            return any(each["Key"] == key for page in pages for each in page.get("Versions", ()))
        except Exception as error:
            raise OSError(f"the versions of objects cannot be listed ({type(error).__name__})") from error


def remote_store(endpoint: str, region: str, credentials: Mapping[str, str]) -> Store:
    """An S3 to ask. `credentials`: `key` and `secret`; reading and listing are enough."""
    files = S3FileSystem(
        endpoint_override=endpoint,
        access_key=credentials.get("key"),
        secret_key=credentials.get("secret"),
        region=region,
        connect_timeout=CONNECT_SECONDS,
        request_timeout=ANSWER_SECONDS,
    )
    client = boto3.client(
        "s3",
        endpoint_url=endpoint,
        aws_access_key_id=credentials.get("key"),
        aws_secret_access_key=credentials.get("secret"),
        region_name=region,
        config=Config(connect_timeout=CONNECT_SECONDS, read_timeout=ANSWER_SECONDS),
    )
    return Store(files, client)
