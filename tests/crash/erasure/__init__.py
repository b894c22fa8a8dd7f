"""Erasure killed at any point: one final state, and nothing half done is ever called done."""
