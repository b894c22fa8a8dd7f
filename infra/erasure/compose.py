"""Erasure with every store of this deployment: what commands and schedules open.

Holds: which stores there are, which places must be answered for, and the way from settings to `Erasure`.
Does not hold: any store's behaviour.
"""

from __future__ import annotations

import os
import secrets
import socket
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from typing import Any

from infra.erasure.exports import export_store
from infra.erasure.identifiers import identifiers_of
from infra.erasure.ledgers import FOLDER as LEDGERS
from infra.erasure.ledgers import NAME as LEDGERS_NAME
from infra.erasure.ledgers import LedgerStore
from infra.erasure.models import model_store
from infra.erasure.places import FolderStore, VolumeStore
from infra.erasure.topics import TopicReading, TopicStore, standing_topics
from warehouse.contract import Contracts, load_contracts
from warehouse.erasure.inventory import places
from warehouse.erasure.open_stays import STAYS
from warehouse.erasure.run import Erasure, Surroundings
from warehouse.erasure.standing import columns_standing, vectors_standing
from warehouse.erasure.stores import Coverage, Place, Store, coverage_of
from warehouse.opened_lake import opened_lake
from warehouse.settings import Settings
from warehouse.vault import SqliteVault, open_vault

DELETIONS, ADMISSIONS = "patient.data.deletions", "adt.events"
HOME_FOLDERS = {
    "dagster": "dagster",
    "logs": "run",
    "quality pages": "quality",
    "catalog": "catalog",
    "erasure pages": "erasure",
}
"""What lies in the home and should name nobody -> its folder."""


@contextmanager
def opened_erasure(
    settings: Settings, who: str = "", progress: Callable[[str], None] = lambda step: None
) -> Generator[Erasure]:
    """Erasure of the lake, topics and home that the settings name. Raises `LakeUnreachableError`, `VaultError`,
    `VaultUnavailableError`."""
    contracts = load_contracts(own=settings.contracts)
    with opened_lake(settings) as catalog:
        vault = open_vault(settings.vault_uri, time.monotonic)
        try:
            erasure = Erasure(
                settings,
                contracts,
                catalog,
                vault,
                Surroundings(),
                who=who or f"erase@{socket.gethostname()}-{os.getpid()}",
                clock=lambda: datetime.now(UTC),
                new_id=lambda: f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{secrets.token_hex(3)}",
                progress=progress,
            )
            erasure.surroundings = surroundings_of(settings, contracts, vault, erasure)
            yield erasure
        finally:
            vault.close()


def surroundings_of(settings: Settings, contracts: Contracts, vault: SqliteVault, erasure: Erasure) -> Surroundings:
    """The stores of the upper floors."""
    named = tuple(topic.stream for topic in contracts.topics() if topic.key_system)
    reading = TopicReading(settings, named, lambda: vectors_standing(erasure))
    stores: list[Store] = [
        TopicStore(settings, topic, identifiers_of(vault, topic.key_system), partial(reading.read_to, topic.stream))
        for topic in _topics(contracts)
    ]
    stores += [FolderStore(what, settings.home / folder) for what, folder in HOME_FOLDERS.items()]
    stores += [_ledgers(settings, contracts, vault), export_store(erasure)]
    around = Surroundings(
        stores=stores,
        after_purge=[VolumeStore(settings)] if settings.embedded_s3 else [],
        models=[model_store(erasure)],
        reading=reading,
        admissions=TopicReading(settings, (ADMISSIONS,), lambda: vectors_standing(erasure, only=STAYS)),
    )
    around.coverage = lambda: coverage(settings, contracts, erasure)
    return around


def coverage(settings: Settings, contracts: Contracts, erasure: Erasure) -> Coverage:
    """Every table, topic and other place that there is, and whether a store answers for it.

    Raises `TopicUnreadableError`, and what the catalog raises."""
    others = [Place("vault", "a data key a person"), Place("models", "whom they learned from")]
    others.append(Place("exports", "files with rows of people"))
    others += [Place(name, "should name nobody: searched") for name in HOME_FOLDERS]
    others.append(Place(LEDGERS_NAME, "patients in clear, where a demonstration ran"))
    if settings.embedded_s3:
        others.append(Place("volumes", "deleted objects until a vacuum"))
    found = places(contracts, columns_standing(erasure), standing_topics(settings), others)
    return coverage_of(found, {store.name for store in erasure.stores()})


def _ledgers(settings: Settings, contracts: Contracts, vault: SqliteVault) -> LedgerStore:
    topic = contracts.stream(DELETIONS).topic
    assert topic is not None, "requests come by a topic, whose keys are patients"
    return LedgerStore(settings.home / LEDGERS, identifiers_of(vault, topic.key_system), topic.key_pattern or "(?!)")


def _topics(contracts: Contracts) -> list[Any]:
    return [topic for topic in contracts.topics() if topic.key_system]
