"""Opening the lake for planning: what does not answer is named with its address, credentials aside.

Holds: the way from the many exceptions of catalog and store to one that a person can act on.
Does not hold: retries; a plan is asked for by somebody who is there to ask again.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from pyiceberg.catalog import Catalog
from pyiceberg.exceptions import RESTError
from requests import RequestException
from sqlalchemy.exc import SQLAlchemyError

from warehouse.catalog import TableMismatchError, open_catalog
from warehouse.evolution import EvolutionError
from warehouse.object_store import StoreUnavailableError
from warehouse.settings import Settings


class LakeError(Exception):
    """Catalog or store did not answer, or a table is not what it was made to be. The message says which and where."""


@contextmanager
def opened_lake(settings: Settings) -> Iterator[Catalog]:
    """The catalog. Raises `LakeError` for whatever it or the store does not do inside the block."""
    try:
        yield open_catalog(settings)
    except (SQLAlchemyError, RequestException, RESTError) as failure:
        place = address(settings.catalog_uri)
        raise LakeError(f"the catalog at {place} did not answer ({type(failure).__name__})") from None
    except (StoreUnavailableError, OSError) as failure:
        where = f"{settings.s3_endpoint} ({settings.warehouse})"
        raise LakeError(f"the object store at {where} did not answer ({type(failure).__name__})") from None
    except (TableMismatchError, EvolutionError) as failure:
        raise LakeError(str(failure)) from None


def address(uri: str) -> str:
    """A URI without user, password and query."""
    parts = urlsplit(uri)
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{host}{parts.path}"
