"""SQLAlchemy's dialects, looked up by one thread at a time.

Its own look-up imports the dialect and then takes it from its package as an attribute. A thread that comes between the
two, while another has just imported it, finds no attribute and fails: a start opens catalogs in several threads.
"""

from __future__ import annotations

import threading

from sqlalchemy import make_url

_ONE_AT_A_TIME = threading.Lock()


def load_dialect(uri: str) -> None:
    """Import what an engine for `uri` needs. To be called before any engine is made."""
    with _ONE_AT_A_TIME:
        make_url(uri).get_dialect()
