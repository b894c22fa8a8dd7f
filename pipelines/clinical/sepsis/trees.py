"""Gradient-boosted trees as text: LightGBM's model file, read, thinned out and joined without LightGBM.

Holds: the trees of a model file, thresholds rounded to float32, and several models made into one that gives the mean of
their margins (log odds).
Does not hold: training (`train`), scoring (`score`), ONNX (`onnx_export`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_DEFAULT_LEFT, _MISSING_NONE, _MISSING_NAN = 2, 0, 2
_HEADER = ("version", "num_class", "num_tree_per_iteration", "label_index", "max_feature_idx", "objective")


class ModelTextError(ValueError):
    """The text is no model of the kind that is made here: binary, numeric splits, one tree an iteration."""


@dataclass(frozen=True, slots=True)
class Tree:
    """One tree: k splits and k + 1 leaves.

    Attributes:
        feature: int64[k], which feature a split reads; left where its value is at most the threshold.
        threshold: float64[k].
        missing_left: bool[k], where NaN goes.
        left, right: int64[k], the next split, or -1 - the leaf.
        leaf: float64[k + 1], what a leaf adds to the margin.
        gain: float64[k], what a split gained in training.
    """

    feature: NDArray[np.int64]
    threshold: NDArray[np.float64]
    missing_left: NDArray[np.bool_]
    left: NDArray[np.int64]
    right: NDArray[np.int64]
    leaf: NDArray[np.float64]
    gain: NDArray[np.float64]


def read_trees(text: str) -> list[Tree]:
    """The trees of a model file. Raises `ModelTextError`."""
    return [_tree(fields) for fields in _blocks(text)]


def join(texts: Sequence[str]) -> str:
    """One model file whose margin is the mean of these models' margins.

    Thresholds are rounded down to float32: features are float32, so no decision changes, and whatever keeps
    thresholds in float32 (ONNX) decides alike. Parameters and importances are left out: they are not the model.
    """
    header = _header(texts[0])
    names = [_header(text)["feature_names"] for text in texts]
    if len(set(names)) != 1:
        raise ModelTextError("the models read different features")
    kept = [f"{key}={header[key]}" for key in (*_HEADER, "feature_names", "feature_infos")]
    blocks = [fields for text in texts for fields in _blocks(text)]
    trees = [_scaled(fields, at, 1.0 / len(texts)) for at, fields in enumerate(blocks)]
    return "\n".join(["tree", *kept, "", *trees, "end of trees", "", ""])


def feature_names(text: str) -> tuple[str, ...]:
    """The names a model reads, in order."""
    return tuple(_header(text)["feature_names"].split())


def importance(text: str) -> dict[str, float]:
    """Each feature's share of all that splits gained, greatest first; features never split on are left out."""
    names, summed = feature_names(text), np.zeros(len(feature_names(text)))
    for tree in read_trees(text):
        np.add.at(summed, tree.feature, tree.gain)
    order = [at for at in np.argsort(-summed, kind="stable") if summed[at] > 0]
    return {names[at]: float(summed[at] / summed.sum()) for at in order}


def round_down(thresholds: NDArray[np.float64]) -> NDArray[np.float64]:
    """The greatest float32 not above each."""
    near = thresholds.astype(np.float32)
    below = np.nextafter(near, np.float32(-np.inf))
    return np.where(near.astype(np.float64) > thresholds, below, near).astype(np.float64)


def _header(text: str) -> dict[str, str]:
    head = text.split("\nTree=", 1)[0]
    fields = dict(line.split("=", 1) for line in head.splitlines() if "=" in line)
    if missing := [key for key in (*_HEADER, "feature_names", "feature_infos") if key not in fields]:
        raise ModelTextError(f"no {', '.join(missing)} in the model file")
    if fields["num_tree_per_iteration"] != "1" or not fields["objective"].startswith("binary sigmoid:1"):
        raise ModelTextError("a model for one yes-or-no outcome is wanted")
    return fields


def _blocks(text: str) -> Iterator[dict[str, str]]:
    body = text.split("\nend of trees", 1)[0]
    for block in body.split("\nTree=")[1:]:
        yield dict(line.split("=", 1) for line in block.splitlines()[1:] if "=" in line)


def _tree(fields: Mapping[str, str]) -> Tree:
    def numbers(key: str, kind: type) -> NDArray:
        return np.array(fields.get(key, "").split(), dtype=kind)

    decisions, threshold = numbers("decision_type", int), numbers("threshold", float)
    if fields.get("num_cat", "0") != "0" or fields.get("is_linear", "0") != "0":
        raise ModelTextError("categories and linear leaves are not known here")
    missing = (decisions >> 2) & 3
    if not np.isin(missing, (_MISSING_NONE, _MISSING_NAN)).all():
        raise ModelTextError("zero as a missing value is not known here")
    # A split that saw no missing value in training takes NaN for zero.
    missing_left = np.where(missing == _MISSING_NAN, (decisions & _DEFAULT_LEFT) > 0, threshold >= 0)
    return Tree(
        feature=numbers("split_feature", int),
        threshold=threshold,
        missing_left=missing_left,
        left=numbers("left_child", int),
        right=numbers("right_child", int),
        leaf=numbers("leaf_value", float),
        gain=numbers("split_gain", float),
    )


def _scaled(fields: Mapping[str, str], at: int, by: float) -> str:
    """A tree's text under a new number, what it adds taken `by` times."""
    changed = dict(fields)
    if fields.get("threshold"):
        thresholds = round_down(np.array(fields["threshold"].split(), dtype=float))
        changed["threshold"] = " ".join(f"{value:.17g}" for value in thresholds)
    for key in ("leaf_value", "internal_value"):
        if fields.get(key):
            changed[key] = " ".join(f"{float(value) * by:.17g}" for value in fields[key].split())
    return "\n".join([f"Tree={at}", *(f"{key}={value}" for key, value in changed.items()), "", ""])
