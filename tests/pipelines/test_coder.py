"""Batches between Beam's steps: carried whole, and weighed without being written out."""

from __future__ import annotations

import apache_beam as beam
import numpy as np
import pyarrow as pa
from apache_beam.coders import registry
from apache_beam.pipeline import PipelineVisitor

from pipelines.batch import MessageBatch, StreamBatch
from pipelines.coder import StreamBatchCoder
from pipelines.source import Shard
from pipelines.stream import build
from warehouse.settings import Settings


def batch() -> StreamBatch:
    messages = MessageBatch(
        "device.vitals",
        "t",
        np.zeros(2, np.int32),
        np.arange(2, dtype=np.int64),
        np.zeros(2, np.int64),
        [b"P000001", None],
        [b"{}", None],
        {0: (0, 2)},
    )
    return StreamBatch(messages, rows=pa.table({"value": [1.0]}), row_index=np.zeros(1, np.int64))


def test_a_batch_comes_back_as_it_was():
    coder = StreamBatchCoder()
    again = coder.decode(coder.encode(batch()))
    assert again.rows == batch().rows
    assert again.messages.values == batch().messages.values
    assert again.messages.intervals == batch().messages.intervals


class Coders(PipelineVisitor):
    """What each transform's output is carried by."""

    def __init__(self) -> None:
        self.by_label: dict[str, str] = {}

    def visit_transform(self, transform_node) -> None:
        for output in transform_node.outputs.values():
            self.by_label[transform_node.full_label] = repr(registry.get_coder(output.element_type))


def test_every_step_of_the_graph_hands_on_by_our_coder():
    pipeline = beam.Pipeline()
    build(pipeline, Settings.from_environment({}), [Shard("s", ("device.vitals",))])
    found = Coders()
    pipeline.visit(found)
    assert {found.by_label[label] for label in LABELS} == {"TupleCoder[StrUtf8Coder, StreamBatchCoder]"}


LABELS = {
    "Read partitions",
    "Pseudonymise key",
    "Decode",
    "Normalise",
    "Validate",
    "Deduplicate",
    "Decide and send alerts",
}
