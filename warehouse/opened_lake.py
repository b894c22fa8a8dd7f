"""Opening the lake for a person who waits: what does not answer is named with its address, credentials aside.

Holds: the way from the many exceptions of catalog and store to one that a person can act on.
Does not hold: retries; a plan is asked for by somebody who is there to ask again.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from urllib.parse import urlsplit

from pyiceberg.catalog import Catalog
from pyiceberg.exceptions import RESTError
from requests import RequestException
from sqlalchemy.exc import SQLAlchemyError

from warehouse.catalog import open_catalog
from warehouse.object_store import StoreUnavailableError
from warehouse.settings import Settings

_CATALOG_FAILURES = (SQLAlchemyError, RequestException, RESTError)


class LakeUnreachableError(Exception):
    """Catalog or store did not answer. The message says which one, where, and the kind of failure."""


@contextmanager
def opened_lake(settings: Settings) -> Generator[Catalog]:
    """The catalog. Raises `LakeUnreachableError` for whatever it or the store does not answer inside the block."""
    try:
        catalog = open_catalog(settings)
    except (StoreUnavailableError, *_CATALOG_FAILURES, OSError) as failure:
        raise _catalog(settings, failure.__cause__ or failure) from None
    try:
        yield catalog
    except _CATALOG_FAILURES as failure:
        raise _catalog(settings, failure) from None
    except (StoreUnavailableError, OSError) as failure:
        where = f"{settings.s3_endpoint} ({settings.warehouse})"
        raise LakeUnreachableError(f"the object store at {where} does not answer ({_kind(failure)})") from None


def _catalog(settings: Settings, failure: BaseException) -> LakeUnreachableError:
    return LakeUnreachableError(f"the catalog at {address(settings.catalog_uri)} does not answer ({_kind(failure)})")


def _kind(failure: BaseException) -> str:
    return type(failure.__cause__ or failure).__name__


def address(uri: str) -> str:
    """A URI without user, password and query."""
    parts = urlsplit(uri)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
