"""The whole stack under fire: broker, store, catalog and streams as real processes, faults, and the oracle's verdict."""
