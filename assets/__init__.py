"""When tables are judged and built, and what depends on what: Dagster, and nothing but wiring."""
