"""The trees as an ONNX graph: float32 features in, the margin (log odds of the score) out.

Holds: the conversion. Written out here, because the usual converter leaves it to chance where NaN goes at a split that
met none in training, and does not round thresholds down.
Does not hold: scoring (`score`), where the trees come from (`trees`, `train`).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import TensorProto, checker, helper

from pipelines.clinical.sepsis.trees import Tree, feature_names, read_trees

INPUT, OUTPUT = "features", "margin"
_OPSETS = (("ai.onnx.ml", 1), ("", 17))
_IR_VERSION = 8


def to_onnx(text: str) -> bytes:
    """The model file as ONNX: input float32[n, F], output float32[n, 1], log odds. Same text, same bytes."""
    trees = read_trees(text)
    node = helper.make_node(
        "TreeEnsembleRegressor",
        [INPUT],
        [OUTPUT],
        domain="ai.onnx.ml",
        aggregate_function="SUM",
        n_targets=1,
        **_ensemble(trees),
    )
    given = helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, ["n", len(feature_names(text))])
    wanted = helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, ["n", 1])
    model = helper.make_model(
        helper.make_graph([node], "sepsis", [given], [wanted]),
        opset_imports=[helper.make_opsetid(*opset) for opset in _OPSETS],
        ir_version=_IR_VERSION,
        producer_name="wardstream",
    )
    checker.check_model(model)
    return model.SerializeToString(deterministic=True)


def _ensemble(trees: list[Tree]) -> dict[str, Any]:
    """The operator's flat lists: splits first, then leaves, tree by tree."""
    splits = [len(tree.feature) for tree in trees]
    leaves = [len(tree.leaf) for tree in trees]
    sizes = [split + leaf for split, leaf in zip(splits, leaves, strict=True)]
    numbers = [np.arange(size) for size in sizes]
    owners = np.repeat(np.arange(len(trees)), sizes)
    return {
        "nodes_treeids": owners.tolist(),
        "nodes_nodeids": np.concatenate(numbers).tolist(),
        "nodes_modes": [
            mode for tree in trees for mode in ["BRANCH_LEQ"] * len(tree.feature) + ["LEAF"] * len(tree.leaf)
        ],
        "nodes_featureids": _padded(trees, "feature", int),
        "nodes_values": _padded(trees, "threshold", float),
        "nodes_missing_value_tracks_true": _padded(trees, "missing_left", int),
        "nodes_truenodeids": [child for tree in trees for child in _children(tree, tree.left)],
        "nodes_falsenodeids": [child for tree in trees for child in _children(tree, tree.right)],
        "target_treeids": np.repeat(np.arange(len(trees)), leaves).tolist(),
        "target_nodeids": [len(tree.feature) + leaf for tree in trees for leaf in range(len(tree.leaf))],
        "target_ids": [0] * sum(leaves),
        "target_weights": [float(value) for tree in trees for value in tree.leaf],
    }


def _padded(trees: list[Tree], name: str, kind: type) -> list[Any]:
    return [kind(value) for tree in trees for value in (*getattr(tree, name), *[0] * len(tree.leaf))]


def _children(tree: Tree, side: np.ndarray) -> list[int]:
    """Node numbers below each split: splits keep theirs, leaves follow them. Leaves have none."""
    nodes = np.where(side >= 0, side, len(tree.feature) - 1 - side)
    return [*(int(node) for node in nodes), *[0] * len(tree.leaf)]
