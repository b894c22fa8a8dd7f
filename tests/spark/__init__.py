"""Whether Spark, DuckDB and pyiceberg read the same rows from the same snapshots. `python -m tests.spark --help`."""
