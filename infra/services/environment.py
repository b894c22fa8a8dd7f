"""Settings as the environment of a child, so that each child reads back what its parent was given.

Does not hold: what any variable means (`warehouse.settings`, `.env.example`).
"""

from __future__ import annotations

from warehouse.settings import Settings


def environment_of(settings: Settings) -> dict[str, str]:
    """Variables from which `Settings.from_environment` makes equal settings. Holds secrets: for children only."""
    return {
        "WARDSTREAM_HOME": str(settings.home),
        "WARDSTREAM_CONTRACTS": str(settings.contracts or ""),
        "WARDSTREAM_RULES": str(settings.rules),
        "WARDSTREAM_INTENSIVE_CARE": ",".join(
            f"{ward}={kind}" if kind else ward for ward, kind in settings.intensive_care.items()
        ),
        "WARDSTREAM_CACHE": str(settings.cache),
        "WARDSTREAM_PORT_BASE": str(settings.port_base),
        "WARDSTREAM_KAFKA_BOOTSTRAP": "" if settings.embedded_kafka else settings.kafka_bootstrap,
        "WARDSTREAM_KAFKA_OPTIONS": ",".join(f"{key}={value}" for key, value in settings.kafka_options.items()),
        "WARDSTREAM_TOPIC_PREFIX": settings.topic_prefix,
        "WARDSTREAM_KAFKA_TIERED": "on" if settings.kafka_tiered else "off",
        "WARDSTREAM_S3_ENDPOINT": "" if settings.embedded_s3 else settings.s3_endpoint,
        "WARDSTREAM_S3_REGION": settings.s3_region,
        "WARDSTREAM_S3_ACCESS_KEY": settings.s3_access_key,
        "WARDSTREAM_S3_SECRET_KEY": settings.s3_secret_key,
        "WARDSTREAM_S3_READER_KEY": settings.s3_reader_key,
        "WARDSTREAM_S3_READER_SECRET": settings.s3_reader_secret,
        "WARDSTREAM_WAREHOUSE": settings.warehouse,
        "WARDSTREAM_COLD_WAREHOUSE": settings.cold_warehouse,
        "WARDSTREAM_COLD_STORAGE_CLASS": settings.cold_storage_class,
        "WARDSTREAM_UPKEEP_WAIT_SECONDS": str(settings.upkeep_wait_seconds),
        "WARDSTREAM_ERASURE_DEADLINE_DAYS": str(settings.erasure_deadline_days),
        "WARDSTREAM_VAULT_BACKUP_DAYS": str(settings.vault_backup_days),
        "WARDSTREAM_RETENTION": settings.retention,
        "WARDSTREAM_PRICES": ",".join(f"{key}={value}" for key, value in settings.prices.items()),
        "WARDSTREAM_CATALOG_URI": "" if settings.embedded_catalog else settings.catalog_uri,
        "WARDSTREAM_NAMESPACE": settings.namespace,
        "WARDSTREAM_VAULT_URI": settings.vault_uri,
        "WARDSTREAM_COORDINATION_URI": settings.coordination_uri,
        "WARDSTREAM_RUNNER": settings.runner,
        "WARDSTREAM_PRISM_ENDPOINT": settings.prism_endpoint,
        "WARDSTREAM_PARTITIONS": ",".join(str(number) for number in settings.partitions or ()),
        "WARDSTREAM_TAKEOVER": "on" if settings.takeover else "off",
        "WARDSTREAM_BRANCHES": settings.branches,
        "WARDSTREAM_COMMIT_SECONDS": repr(settings.commit_seconds),
        "WARDSTREAM_COMMIT_ROWS": str(settings.commit_rows),
        "WARDSTREAM_LAKE_QUEUE_BYTES": str(settings.lake_queue_bytes),
        "WARDSTREAM_SQL_MEMORY_BYTES": str(settings.sql_memory_bytes),
    }
