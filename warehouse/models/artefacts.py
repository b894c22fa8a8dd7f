"""Files of models in the object store, each under the hash of its content.

Holds: putting, which may be repeated, and getting, which checks.
Does not hold: which files a model has (`registry.py`).

They lie beside the tables, not under one: what no snapshot names is swept there.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from pyiceberg.catalog import Catalog

from warehouse.catalog import load_table
from warehouse.object_store import SinglePutFileIO
from warehouse.settings import Settings
from warehouse.table_session import store_of

MODELS = "models"


class ArtefactError(Exception):
    """A file is not there, or is not what was put. Says which by its hash."""


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


class Artefacts:
    """The files of one lake's models."""

    def __init__(self, settings: Settings, catalog: Catalog) -> None:
        self._catalog, self._namespace = catalog, settings.namespace
        self._folder = f"{settings.warehouse}/model-files/{settings.namespace}"

    def put(self, content: bytes) -> str:
        """Its hash. Putting it again changes nothing. Raises OSError."""
        digest = sha256(content)
        self._store().put(self.location(digest), content)
        return digest

    def get(self, digest: str) -> bytes:
        """What was put under this hash. Raises `ArtefactError`, OSError where the store does not answer."""
        try:
            with self._store().new_input(self.location(digest)).open() as stream:
                content = stream.read()
        except FileNotFoundError:
            raise ArtefactError(f"the store has no file {digest[:16]} of a model; register the model again") from None
        if sha256(content) != digest:
            raise ArtefactError(f"file {digest[:16]} of a model is not what was put; restore it or register it again")
        return content

    def delete(self, digests: list[str]) -> None:
        """Of those that nobody needs; what is not there is no error."""
        self._store().delete_many([self.location(digest) for digest in digests])

    def get_all(self, files: Mapping[str, str]) -> dict[str, bytes]:
        """Name -> content, of name -> hash."""
        return {name: self.get(digest) for name, digest in files.items()}

    def location(self, digest: str) -> str:
        """Where the file of this hash lies."""
        return f"{self._folder}/{digest}"

    def _store(self) -> SinglePutFileIO:
        return store_of(load_table(self._catalog, self._namespace, MODELS))
