"""The oracle: did every message sent end in exactly one place, whole, and did every alert follow from the rows?

A program of its own. It imports nothing of the product, so that it shares no mistake with it: only pyiceberg, DuckDB,
pyarrow, numpy, confluent-kafka and the standard library. What it needs to know of the product (message format,
units, the NEWS2 chart, the policy's words) it restates from the public sources and the contract's text.

    collecting (ledger, kafka_log, lake) -> History, plain tables -> checks (with alerts) -> Verdict

`python -m tests.oracle --help` says how to run it on a deployment.
"""
