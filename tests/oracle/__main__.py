"""`python -m tests.oracle`: judge a deployment. Exit code 0 if nothing is wrong, 1 if something is.

The store's secret and the catalog's URI are read from the environment (WARDSTREAM_S3_SECRET_KEY,
WARDSTREAM_CATALOG_URI) where they are not given, so that they need not stand in a process list.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from dataclasses import replace
from pathlib import Path

from .history import OWN_TABLE, SCORES, VITALS
from .lake import LakePlace
from .oracle import Places, examine


def main(arguments: list[str] | None = None) -> int:
    args = _parse(arguments)
    lake = LakePlace(
        args.catalog, args.namespace, args.s3_endpoint, args.s3_access_key, args.s3_secret_key, args.s3_region
    )
    streams = (VITALS,) if args.vitals_only else tuple(OWN_TABLE)
    streams = tuple(name for name in streams if name != SCORES or args.scores)
    topics = {name: args.topic_prefix + name for name in streams}
    if args.vitals_topic:
        topics[VITALS] = args.vitals_topic
    kafka = {"bootstrap.servers": args.bootstrap}
    places = Places(kafka, topics, lake, tuple(args.ledger), args.gen_ledger, args.horizon, args.vault)
    wards = tuple(part.partition("=")[0].strip() for part in args.intensive_care.split(",") if part.strip())
    verdict = examine(replace(places, models=tuple(args.model or places.models), intensive_care=wards))
    if args.json:
        findings = [finding._asdict() for finding in verdict.findings]
        print(json.dumps({"passed": verdict.passed, "counts": verdict.counts, "findings": findings, **verdict.totals}))
    else:
        print(verdict.report())
    return 0 if verdict.passed else 1


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    environment = os.environ.get
    parser = argparse.ArgumentParser(prog="python -m tests.oracle", description=__doc__)
    parser.add_argument("--bootstrap", default=environment("WARDSTREAM_KAFKA_BOOTSTRAP"), help="Kafka")
    parser.add_argument("--topic-prefix", default=environment("WARDSTREAM_TOPIC_PREFIX", ""))
    parser.add_argument("--vitals-topic", help="where it is not the prefix and device.vitals")
    parser.add_argument("--vitals-only", action="store_true", help="leave all other topics and tables alone")
    parser.add_argument("--catalog", default=environment("WARDSTREAM_CATALOG_URI"), help="catalog URI")
    parser.add_argument("--namespace", default=environment("WARDSTREAM_NAMESPACE", "wardstream"))
    parser.add_argument("--s3-endpoint", default=environment("WARDSTREAM_S3_ENDPOINT"))
    parser.add_argument("--s3-region", default=environment("WARDSTREAM_S3_REGION", "us-east-1"))
    parser.add_argument("--s3-access-key", default=environment("WARDSTREAM_S3_ACCESS_KEY", "wardstream"))
    parser.add_argument("--s3-secret-key", default=environment("WARDSTREAM_S3_SECRET_KEY", "embedded-loopback-only"))
    parser.add_argument("--ledger", type=Path, action="append", default=[], help="a simulator's ledger; repeatable")
    parser.add_argument("--gen-ledger", type=Path, help="a ledger of counts and fingerprints, as gen.py writes it")
    parser.add_argument("--horizon", type=int, default=172_800, help="deduplication horizon in seconds")
    parser.add_argument("--vault", type=Path, help="the vault's SQLite database; without it no sealed cell is opened")
    parser.add_argument(
        "--scores",
        action="store_true",
        help="sepsis scores and their alerts too: of a bounded run (--until-end) that nothing stopped",
    )
    parser.add_argument("--model", type=Path, action="append", help="folder of a model in use, the one in force first")
    wards = environment("WARDSTREAM_INTENSIVE_CARE", "")
    parser.add_argument("--intensive-care", default=wards, help="the site's wards, as the product reads them")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args(arguments)
    absent = [name for name in ("bootstrap", "catalog", "s3_endpoint") if not getattr(args, name)]
    if absent:
        parser.error("give " + ", ".join("--" + name.replace("_", "-") for name in absent))
    return args


if __name__ == "__main__":
    sys.exit(main())
