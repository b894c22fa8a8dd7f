"""Registered models as a store of erasure, with the product's own training.

Holds: what ties the store to training, which is loaded only where a model is trained.
Does not hold: either (`warehouse/erasure/models.py`, `pipelines/retraining.py`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from warehouse.erasure.models import Anew, ModelStore
from warehouse.models.looks import Looks
from warehouse.models.registry import Model, Registry
from warehouse.vault import LEARNERS_KEY

if TYPE_CHECKING:
    from warehouse.erasure.run import Erasure


def model_store(erasure: Erasure) -> ModelStore:
    """The store of the models of the lake that an erasure is of."""
    settings, contracts, catalog = erasure.settings, erasure.contracts, erasure.catalog

    def retrain(model: Model) -> Anew:
        from pipelines.retraining import Retraining

        work = Retraining(settings, contracts, catalog, erasure.who)
        return work.again(model, erasure.clock(), progress=_silent)

    return ModelStore(
        registry=Registry(settings, contracts, catalog, erasure.who),
        catalog=catalog,
        namespace=settings.namespace,
        key=erasure.vault.house_key(LEARNERS_KEY),
        tables=erasure.tables,
        retrain=retrain,
        keep_profile=Looks(catalog, settings.namespace, contracts, erasure.who).keep_profile,
        who=erasure.who,
        clock=erasure.clock,
        sleep=erasure.sleep,
        progress=erasure.progress,
    )


def _silent(line: str) -> None:
    """Training tells of each fold; a certificate does not."""
