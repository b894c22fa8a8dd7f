"""A DuckDB session that can read the warehouse's folders, warm and cold, and nothing else.

Holds: the extensions, the read-only credential, the bounds and the locks.
Does not hold: any table or statement; what people ask goes through `analytics.py`, which guards it.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from urllib.parse import urlsplit

import duckdb

from warehouse.settings import Settings

THREADS = 2
DoesNotFit = duckdb.OutOfMemoryException
"""What a session raises whose memory an answer needs more of."""
EXTENSIONS = ("avro", "httpfs", "iceberg")  # in this order: each needs those before it

REMEMBERED = ("parquet_metadata_cache", "httpfs_connection_caching")
"""Between questions of a session: footers of files, which are never written again, and connections to the store."""


def open_session(settings: Settings) -> duckdb.DuckDBPyConnection:
    """An in-memory session that can read the warehouse's folder, the cold one where there is one, and nothing else; its
    settings locked."""
    offline = {"autoinstall_known_extensions": "false", "autoload_known_extensions": "false"}
    # No spill: it would be a copy on disk.
    bounds = {"threads": THREADS, "memory_limit": f"{settings.sql_memory_bytes}B", "temp_directory": ""}
    session = duckdb.connect(":memory:", config={**offline, **bounds, "allow_persistent_secrets": "false"})
    for extension in EXTENSIONS:
        session.execute(f"LOAD {quoted(str(_extension_file(extension)))}")
    folders = [f"{each}/" for each in (settings.warehouse, settings.cold_warehouse) if each]
    for number, folder in enumerate(folders):
        session.execute(_secret(settings, f"lake_{number}", folder))
    for remembered in REMEMBERED:
        session.execute(f"SET GLOBAL {remembered} = true")
    session.execute("SET GLOBAL TimeZone = 'UTC'")
    session.execute("SET GLOBAL python_enable_replacements = false")
    session.execute(f"SET GLOBAL allowed_directories = [{', '.join(map(quoted, folders))}]")
    session.execute("SET GLOBAL enable_external_access = false")
    session.execute("SET GLOBAL lock_configuration = true")
    return session


def _extension_file(name: str) -> Path:
    """The extension's file in its PyPI package: nothing is fetched at run time."""
    package = importlib.util.find_spec(f"duckdb_extension_{name}")
    folders = list(package.submodule_search_locations or ()) if package else []
    found = [file for folder in folders for file in Path(folder).glob(f"extensions/v{duckdb.__version__}/{name}.*")]
    if not found:
        wanted = f"duckdb-extension-{name}=={duckdb.__version__}"
        raise FileNotFoundError(f"DuckDB's extension {name} is not installed; install {wanted}")
    return found[0]


def _secret(settings: Settings, name: str, folder: str) -> str:
    endpoint = urlsplit(settings.s3_endpoint)
    fields = {
        "KEY_ID": settings.s3_reader_key,
        "SECRET": settings.s3_reader_secret,
        "ENDPOINT": endpoint.netloc,
        "REGION": settings.s3_region,
        "URL_STYLE": "path",
        "USE_SSL": str(endpoint.scheme == "https").lower(),
        "SCOPE": folder,
    }
    return (
        f"CREATE SECRET {name} (TYPE s3, " + ", ".join(f"{key} {quoted(value)}" for key, value in fields.items()) + ")"
    )


def quoted(text: str) -> str:
    """`text` as a literal of SQL."""
    return "'" + text.replace("'", "''") + "'"
