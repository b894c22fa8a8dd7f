"""The oracle: did every message sent end in exactly one place, whole, and did every alert follow from the rows?

A program of its own. It imports nothing of the product, so that it shares no mistake with it: only pyiceberg, DuckDB,
pyarrow, numpy, onnxruntime, confluent-kafka, cryptography and the standard library. What it needs to know of the
product (message format, units, the NEWS2 chart, the policy's words, a model's features) it restates from the public
sources and the contract's text.

Judged: the streams' own tables, rejects, duplicates, alerts and sepsis scores, and what is sealed in them: by its size
and whose key opens it, and, where the vault is given, opened and held against the message. Not judged: derived tables
(stays, roll-ups, faults), messages kept as they came, and what the product itself decides of quality and retention.

    collecting (ledger, kafka_log, lake) -> History, plain tables -> checks (with alerts) -> Verdict

`python -m tests.oracle --help` says how to run it on a deployment.
"""
