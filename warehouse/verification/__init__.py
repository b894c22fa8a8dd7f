"""Is a catalog with its store fit for Wardstream? Tried on tables of a namespace that is made for it and removed after.

Holds: `plan.py` (how much), `verification.py` (the order of things), `crew.py` (processes), `catalog_jobs.py` and
`store_jobs.py` (what a process does to catalog and store), `reports.py` (what it tells), `judgement.py` (what follows
from that), `verdict.py` (what it means). Only the jobs load pyiceberg and boto3, in processes of their own: a server
that never answers is left alone at a deadline.
Does not hold: how a verdict is shown (`infra/cli/catalog.py`), or a measure of speed.
"""
