"""What Spark answers to SELECTs over a site's Iceberg tables: `python spark_answers.py` with pyspark's own Python.

Holds: a Spark session on the site's catalog (JdbcCatalog on PostgreSQL or SQLite) and store, and the asking. Everything
comes as JSON on standard input; the answers go to standard output, one JSON object. Imports nothing of ours. The
catalog's tables are neither made nor changed.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from pyspark.sql import SparkSession  # ty: ignore[unresolved-import]


def main() -> None:
    told: dict[str, Any] = json.load(sys.stdin)
    spark = _session(told)
    answers = {name: [row.asDict() for row in spark.sql(select).collect()] for name, select in told["selects"].items()}
    print(json.dumps({"version": spark.version, "answers": answers}))
    spark.stop()


def _session(told: dict[str, Any]) -> SparkSession:
    catalog = f"spark.sql.catalog.{told['catalog']}"
    options = {
        "spark.jars": ",".join(told["jars"]),
        "spark.driver.extraClassPath": ":".join(told["jars"]),
        "spark.ui.enabled": "false",
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.extensions": "org.apache.iceberg.spark.extensions.IcebergSparkSessionExtensions",
        catalog: "org.apache.iceberg.spark.SparkCatalog",
        f"{catalog}.catalog-impl": "org.apache.iceberg.jdbc.JdbcCatalog",
        f"{catalog}.uri": told["jdbc"],
        f"{catalog}.jdbc.init-catalog-tables": "false",
        f"{catalog}.warehouse": told["warehouse"],
        f"{catalog}.io-impl": "org.apache.iceberg.aws.s3.S3FileIO",
        f"{catalog}.s3.endpoint": told["endpoint"],
        f"{catalog}.s3.path-style-access": "true",
        f"{catalog}.s3.access-key-id": told["key"],
        f"{catalog}.s3.secret-access-key": told["secret"],
        f"{catalog}.client.region": told["region"],
        **{f"{catalog}.jdbc.{name}": value for name, value in told["login"].items()},
    }
    builder = SparkSession.builder.master("local[1]").appName("wardstream-reads")
    for name, value in options.items():
        builder = builder.config(name, value)
    return builder.getOrCreate()


if __name__ == "__main__":
    main()
