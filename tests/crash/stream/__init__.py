"""The stream killed while messages flow: nothing lost, nothing doubled, the same alerts."""
