"""The fixture of a PostgreSQL of this worker's own; conftest files that want it import it from here."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.conftest import cannot
from tests.postgres import LocalPostgres, PostgresMissingError


@pytest.fixture(scope="session")
def postgres(free_port_base: Callable[[], int]) -> Iterator[str]:
    """URI of a PostgreSQL of this worker, as `WARDSTREAM_CATALOG_URI` takes it."""
    try:
        server = LocalPostgres(free_port_base())
    except PostgresMissingError as error:
        cannot("no PostgreSQL for the catalog's tests", str(error))
        raise
    try:
        yield server.uri
    finally:
        server.stop()
