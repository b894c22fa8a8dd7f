"""Floor 0: what is kept, in which words, for how long, by whose leave. Knows nothing of Beam, Dagster or GX."""
