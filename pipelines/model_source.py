"""Which sepsis model scores: the champion of the lake's register, polled beside the stream, and files to and from it.

Holds: `RegisteredModels`, the polling; a model as the register's row and files, and back.
Does not hold: the register (`warehouse/models/`), scoring (`pipelines/clinical/sepsis/`), promotion.

No batch waits for the poll. A promotion holds from an append time two polls ahead, so a stream that can read the lake
knows it by then. One that could not, or learns of it too late, goes on with the model it has, says so in `trouble`, and
changes with the first message after it has learnt of it; each score names its model in any case.
"""

from __future__ import annotations

import logging
import tempfile
import threading
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import cached_property
from pathlib import Path

from pipelines.clinical.sepsis import model_files
from pipelines.clinical.sepsis.model_files import ModelFiles, ModelFilesError
from pipelines.clinical.sepsis.score import OnnxModel
from pipelines.clinical.sepsis.scoring import SepsisModel
from warehouse.catalog import TableMismatchError, open_catalog
from warehouse.contract import load_contracts
from warehouse.models.artefacts import sha256
from warehouse.models.registry import RELOAD, Model, Registry, line_of
from warehouse.settings import Settings

_LOG = logging.getLogger(__name__)

BUILT_IN = ""
"""In the place of a version: the model that comes with the product."""
Crowned = Sequence[tuple[int, str]]
"""(append time in ms from which it holds, version), in the order in which they hold."""


class RegisteredModels:
    """A `ModelSource`. `in_force` may be called from any thread, and answers at once.

    Args:
        built_in: scores where no registered model does.
        read: the champions, oldest first. load: the model of a version. Both may raise whatever a store raises.
    """

    def __init__(self, built_in: SepsisModel, read: Callable[[], Crowned], load: Callable[[str], SepsisModel]) -> None:
        self._read, self._load = read, load
        self._built_in = built_in
        self._loaded: dict[str, SepsisModel] = {built_in.version: built_in}
        self._line: tuple[tuple[int, ...], tuple[SepsisModel, ...]] = ((), ())
        self._holds_from: dict[int, int] = {}
        self._asked_ms = -1
        self.trouble = ""
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def in_force(self, appended_ms: int) -> SepsisModel:
        """The model of messages appended at this time."""
        self._asked_ms = max(self._asked_ms, appended_ms)
        begins, models = self._line
        at = bisect_right(begins, appended_ms)
        return models[at - 1] if at else self._built_in

    def poll(self) -> None:
        """Look once; whatever goes wrong leaves the models as they are. One model that cannot be loaded leaves the one
        before it in force, and is asked for again."""
        try:
            known = self._read()
        except Exception as error:  # a store may fail in many ways, and no alert waits for it
            self._tell(f"the register of models cannot be read ({type(error).__name__}); models stay as they were")
            return
        line, missing = [], ""
        for from_ms, version in known:
            try:
                model = self._model(version)
            except Exception as error:
                missing = f"model {version} cannot be loaded ({type(error).__name__}); the one before it goes on"
                continue
            line.append((self._begin(from_ms), model))
        line.sort(key=lambda pair: pair[0])
        self._line = tuple(from_ms for from_ms, _ in line), tuple(model for _, model in line)
        self._forget_all_but({self._built_in.version, *(model.version for _, model in line)})
        self._tell(missing)

    def _tell(self, trouble: str) -> None:
        self.trouble = trouble
        if trouble:
            _LOG.warning("%s", trouble)

    def start(self) -> RegisteredModels:
        """Look now, then every `RELOAD` in a thread of its own, until `stop`."""
        self.poll()
        self._thread = threading.Thread(target=self._run, name="models", daemon=True)
        self._thread.start()
        return self

    def stop(self) -> None:
        self._stop.set()

    def said(self) -> dict[str, object]:
        """For the status file."""
        model = self.in_force(self._asked_ms)
        begins, models = self._line
        coming = [f"{m.name}@{m.version}" for at, m in zip(begins, models, strict=True) if at > self._asked_ms]
        return {"model": f"{model.name}@{model.version}", "coming": coming, "trouble": self.trouble}

    def _run(self) -> None:
        while not self._stop.wait(RELOAD.total_seconds()):
            self.poll()

    def _begin(self, from_ms: int) -> int:
        """From when on a decision holds here: what was decided on before it was known stays as it is. Where another
        model stands in the place of one that an erasure withdrew, it is the same decision."""
        return self._holds_from.setdefault(from_ms, max(from_ms, self._asked_ms + 1))

    def _forget_all_but(self, versions: set[str]) -> None:
        """A model that was withdrawn, since it had learned from somebody who was erased, stays in no memory."""
        self._loaded = {version: model for version, model in self._loaded.items() if version in versions}

    def _model(self, version: str) -> SepsisModel:
        if version == BUILT_IN:
            return self._built_in
        if version not in self._loaded:
            self._loaded[version] = self._load(version)
        return self._loaded[version]


def registered_models(settings: Settings, built_in: SepsisModel) -> RegisteredModels:
    """The champions of the lake that the settings name; the built-in model until there is one."""
    lake = _Lake(settings, built_in.name)
    return RegisteredModels(built_in, lake.champions, lake.load)


class _Lake:
    """The register, opened when it is first asked, on a catalog of the polling thread's own."""

    def __init__(self, settings: Settings, name: str) -> None:
        self._settings, self._name = settings, name

    @cached_property
    def _registry(self) -> Registry:
        contracts = load_contracts(own=self._settings.contracts)
        return Registry(self._settings, contracts, open_catalog(self._settings), "stream")

    def champions(self) -> Crowned:
        try:
            return [
                (round(r.in_force_at.timestamp() * 1000), v) for r, v in line_of(self._registry.roles(), self._name)
            ]
        except TableMismatchError:  # a lake from before there were models
            return []

    def load(self, version: str) -> SepsisModel:
        return ready(self._registry.load(version))


def files_of(model: ModelFiles, page: str) -> dict[str, bytes]:
    """The files of a model by name, as the register keeps them."""
    with tempfile.TemporaryDirectory() as folder:
        model_files.write(Path(folder), model, page)
        return files_in(Path(folder))


def files_in(folder: Path) -> dict[str, bytes]:
    """The same of a model's folder. Raises `ModelFilesError` where one is missing."""
    try:
        return model_files.contents_of(folder)
    except OSError as error:
        raise ModelFilesError(f"{folder}: no model here, {Path(str(error.filename)).name} is missing") from None


def model_of(files: Mapping[str, bytes]) -> ModelFiles:
    """The model of a register's files, checked. Raises `ModelFilesError`."""
    with tempfile.TemporaryDirectory() as folder:
        for name in model_files.FILES:
            (Path(folder) / name).write_bytes(files.get(name, b""))
        return model_files.read(Path(folder))


def ready(files: Mapping[str, bytes]) -> OnnxModel:
    """The model of a register's files, ready to score. Raises `ModelFilesError`."""
    return OnnxModel(model_of(files))


def row_of(
    model: ModelFiles,
    files: Mapping[str, bytes],
    *,
    snapshots: Mapping[str, int],
    learnt_from: str,
    at: datetime,
    who: str,
) -> Model:
    """The register's row of a model. `snapshots`: tables it learned from; `learnt_from`: hash of the sealed list of
    people."""
    about = model.metadata
    learnt = about["learning_set"]
    figures = about.get("figures", {})
    told = {name: figures[name] for name in ("all", "utility_interval", "clock") if name in figures}
    return Model(
        version=model.version,
        name=model.name,
        artefacts={name: sha256(content) for name, content in files.items()},
        learnt_from=learnt_from,
        learnt_stays=int(learnt["stays"]),
        source=str(learnt.get("source", "")),
        snapshots=dict(snapshots),
        code=about["code"],
        parameters={"recipe": about.get("recipe"), "seed": about.get("seed"), "digest": learnt.get("digest")},
        metrics=told,
        registered_at=at,
        registered_by=who,
    )
