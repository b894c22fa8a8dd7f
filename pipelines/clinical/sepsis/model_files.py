"""A model as a folder of files that name themselves by content.

Holds: writing and reading the folder, its version, and the champion that comes with the product.
Does not hold: training, scoring, and which model is in force in a lake (the registry).

    model.onnx          what scores
    model.txt.gz        the same trees as LightGBM's text, for contributions
    calibration.json    from score to risk
    metadata.json       features, window, recipe, seed, folds, figures, digests of the files and of what was learnt from
    card.html           the page for people

The version is the hash of the digests of the first three, the threshold, and the features' names: what decides a
score. Time and place of training are not among the files: two runs give the same bytes.

A writer puts all files beside those that are there and makes them the folder's by one renaming; then each is moved to
its place. Whoever reads looks for a file among those that are still to be moved first. So a writer that is killed
leaves the model of before or the new one, never some files of each.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import shutil
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.clinical.sepsis import calibrate
from pipelines.clinical.sepsis.calibrate import Calibration
from pipelines.clinical.sepsis.features import FEATURES, WINDOW_H

ONNX, TEXT, CALIBRATION, METADATA, CARD = "model.onnx", "model.txt.gz", "calibration.json", "metadata.json", "card.html"
FILES = (METADATA, ONNX, TEXT, CALIBRATION, CARD)
"""In the order in which they are moved: a folder that has any has the first, by which it is known as a model's."""
NAME = "sepsis"
CHAMPION = Path(__file__).parent / "champion"
"""The model trained on the challenge's set A that is used where no other is named."""
_UNFINISHED, _TO_MOVE = ".part", ".next"
_SOURCES = ("variables.py", "panel.py", "features.py", "utility.py", "trees.py", "train.py", "calibrate.py")


class ModelFilesError(ValueError):
    """The folder holds no model that this code may use. Says which file and how to mend it."""


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """A model as kept.

    Attributes:
        text: the trees as LightGBM's text.
        onnx: the same for scoring.
        calibration: from score to risk.
        metadata: all that is known of it.
    """

    text: str
    onnx: bytes
    calibration: Calibration
    metadata: Mapping[str, Any]

    @property
    def name(self) -> str:
        return self.metadata["name"]

    @property
    def version(self) -> str:
        return self.metadata["version"]

    @property
    def threshold(self) -> float:
        return self.metadata["threshold"]


def assemble(
    text: str, onnx: bytes, calibration: Calibration, threshold: float, about: Mapping[str, Any]
) -> ModelFiles:
    """A model with its version; `about` joins the metadata."""
    digests = {
        ONNX: _sha256(onnx),
        TEXT: _sha256(text.encode()),
        CALIBRATION: _sha256(_calibration_bytes(calibration)),
    }
    decides = {"digests": digests, "threshold": threshold, "features": list(FEATURES), "window_h": WINDOW_H}
    metadata = {"name": NAME, "version": _version(decides), **decides, "code": code_digest(), **about}
    return ModelFiles(text, onnx, calibration, json.loads(_json(metadata)))


def write(folder: Path, model: ModelFiles, card: str) -> None:
    """The model as files, in the place of the model that is there: killed or failing, this leaves one of the two whole,
    as `read` finds it. For one writer of a folder at a time. Raises OSError."""
    contents = {
        ONNX: model.onnx,
        TEXT: gzip.compress(model.text.encode(), mtime=0),
        CALIBRATION: _calibration_bytes(model.calibration),
        CARD: card.encode(),
        METADATA: _json(model.metadata, indent=1),
    }
    folder.mkdir(parents=True, exist_ok=True)
    _move_into_place(folder)
    unfinished = folder / _UNFINISHED
    shutil.rmtree(unfinished, ignore_errors=True)  # of a writer that was killed
    unfinished.mkdir()
    try:
        for name, content in contents.items():
            (unfinished / name).write_bytes(content)
        unfinished.rename(folder / _TO_MOVE)  # from here on this is the folder's model
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise
    _move_into_place(folder)


def _move_into_place(folder: Path) -> None:
    """What a writer made the folder's model and did not come to move."""
    waiting = folder / _TO_MOVE
    if not waiting.is_dir():
        return
    for name in FILES:
        if (waiting / name).exists():
            (waiting / name).replace(folder / name)
    waiting.rmdir()


def contents_of(folder: Path, names: Collection[str] = FILES) -> dict[str, bytes]:
    """The files of a folder's model, all of one writing. Raises OSError."""
    while True:
        metadata = _content(folder, METADATA)
        found = {name: _content(folder, name) for name in names}
        if _content(folder, METADATA) == metadata:  # else somebody wrote another model meanwhile
            return found


def _content(folder: Path, name: str) -> bytes:
    try:
        return (folder / _TO_MOVE / name).read_bytes()
    except FileNotFoundError:
        return (folder / name).read_bytes()


def is_free(folder: Path) -> bool:
    """Whether a model may be written here: nothing is there, or a model, or what was left of the writing of one."""
    names = {each.name for each in folder.iterdir()} if folder.exists() else set()
    return METADATA in names or names <= {_UNFINISHED, _TO_MOVE}


def read(folder: Path) -> ModelFiles:
    """The model of a folder, its digests checked. Raises `ModelFilesError`."""
    try:
        found = contents_of(folder, (METADATA, TEXT, ONNX, CALIBRATION))
        metadata = json.loads(found[METADATA])
        text = gzip.decompress(found[TEXT]).decode()
        onnx, kept = found[ONNX], found[CALIBRATION]
        digests = {ONNX: _sha256(onnx), TEXT: _sha256(text.encode()), CALIBRATION: _sha256(kept)}
        changed = [name for name, digest in digests.items() if metadata["digests"][name] != digest]
        features = tuple(metadata["features"]), metadata["window_h"]
        calibration = calibrate.from_json(json.loads(kept))
        true_version = _version(metadata)
    except FileNotFoundError as error:
        raise ModelFilesError(f"{folder}: no model here, {Path(error.filename).name} is missing") from None
    except (OSError, EOFError, KeyError, TypeError, ValueError) as error:
        raise ModelFilesError(f"{folder}: not to be read as a model ({type(error).__name__})") from error
    if changed:
        raise ModelFilesError(
            f"{folder}: {', '.join(changed)} is not the file that was written; train again or restore it"
        )
    if metadata["version"] != true_version:
        raise ModelFilesError(f"{folder}: {METADATA} was changed after the model was made, its version is another")
    if features != (FEATURES, WINDOW_H):
        raise ModelFilesError(f"{folder}: made for other features than this version computes; train it again")
    return ModelFiles(text, onnx, calibration, metadata)


def champion() -> ModelFiles:
    """The model that comes with the product. Raises `ModelFilesError`."""
    return read(CHAMPION)


def code_digest() -> str:
    """The hash of the sources that make a model."""
    here = Path(__file__).parent
    return _sha256(b"".join((here / name).read_bytes() for name in _SOURCES))


def folder_digest(folder: Path) -> str:
    """The hash of all files of a model's folder."""
    names = (ONNX, TEXT, CALIBRATION, METADATA, CARD)
    found = contents_of(folder)
    return _sha256("".join(f"{name} {_sha256(found[name])}\n" for name in names).encode())


def _version(decides: Mapping[str, Any]) -> str:
    return _sha256(_json({name: decides[name] for name in ("digests", "threshold", "features", "window_h")}))[:16]


def _calibration_bytes(calibration: Calibration) -> bytes:
    return _json(calibration.as_json())


def _json(value: Any, indent: int | None = None) -> bytes:
    return (json.dumps(value, indent=indent, sort_keys=True, allow_nan=False) + "\n").encode()


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
