"""Upkeep of the lake's tables: fewer files, fewer snapshots, fewer manifests, and nothing left that nobody names.

Holds: the plan (`plan.py`, pure), one doer a concern, and their order for one table (`run.py`).
Does not hold: when a table's turn comes (`assets/upkeep.py`), nor the store's own upkeep (`infra/services`).
"""
