"""Upkeep of one table by Spark, as a site's other team would run it: `python spark_upkeep.py` with pyspark, elsewhere.

Holds: a Spark session on the site's catalog (PostgreSQL, as a JdbcCatalog) and store, and two procedures. Started by
scenarios/engines.py with another Python; everything comes as JSON on standard input. Imports nothing of ours.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from pyspark.sql import SparkSession  # ty: ignore[unresolved-import]

TIMES = 8
STEPS = {
    "compact": "CALL wardstream.system.rewrite_data_files(table => '{table}', "
    "options => map('min-input-files', '2', 'rewrite-all', 'true'))",
    "expire": "CALL wardstream.system.expire_snapshots(table => '{table}', "
    "older_than => TIMESTAMP '2100-01-01 00:00:00', retain_last => 1)",
}


def main() -> None:
    told: dict[str, Any] = json.load(sys.stdin)
    spark = _session(told)
    table = told["table"]
    print(_until_it_lands(spark, STEPS[told["step"]].format(table=table)))
    spark.stop()


def _until_it_lands(spark: SparkSession, statement: str) -> str:
    """The procedure, again where a commit of the stream came first: our tables forbid blind repetition of commits
    (`commit.retry.num-retries` is 0), so another engine's job has to begin anew."""
    for number in range(1, TIMES + 1):
        try:
            return f"{spark.sql(statement).collect()}, attempt {number}"
        except Exception as error:
            if number == TIMES or "CommitFailedException" not in str(error):
                raise
    raise AssertionError("unreachable")


def _session(told: dict[str, Any]) -> SparkSession:
    catalog = "spark.sql.catalog.wardstream"
    options = {
        "spark.jars": told["jars"],
        "spark.driver.extraClassPath": told["jars"].replace(",", ":"),
        "spark.ui.enabled": "false",
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.extensions": "org.apache.iceberg.spark.extensions.IcebergSparkSessionExtensions",
        catalog: "org.apache.iceberg.spark.SparkCatalog",
        f"{catalog}.catalog-impl": "org.apache.iceberg.jdbc.JdbcCatalog",
        f"{catalog}.uri": told["jdbc"],
        f"{catalog}.jdbc.user": "ward",
        f"{catalog}.jdbc.schema-version": "V1",
        f"{catalog}.warehouse": told["warehouse"],
        f"{catalog}.io-impl": "org.apache.iceberg.aws.s3.S3FileIO",
        f"{catalog}.s3.endpoint": told["endpoint"],
        f"{catalog}.s3.path-style-access": "true",
        f"{catalog}.s3.access-key-id": told["key"],
        f"{catalog}.s3.secret-access-key": told["secret"],
        f"{catalog}.client.region": told["region"],
    }
    builder = SparkSession.builder.master("local[1]").appName("upkeep")
    for name, value in options.items():
        builder = builder.config(name, value)
    return builder.getOrCreate()


if __name__ == "__main__":
    main()
