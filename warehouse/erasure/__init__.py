"""One person erased everywhere, with proof: states, plan, stores, doer, ledger, certificate.

Holds: what erasure is, and the stores of the lake's own floor (tables and the vault).
Does not hold: stores of upper floors (topics, Dagster's storage, volumes), which answer the same questions and are
registered by `infra/erasure`; when it happens (`assets/erasure.py`).
"""
