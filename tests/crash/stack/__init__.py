"""The whole stack under fire: broker, store, catalog, streams as real processes, faults, and the oracle's verdict."""
