"""Builds of the product that are broken on purpose, each in one place, on real runs: every one must be caught."""
