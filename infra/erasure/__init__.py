"""The stores of erasure that upper floors own, and erasure put together with all of them.

Holds: topics, the embedded store's volumes, files of the home; and what of all that holds people is answered for.
Does not hold: what erasure is (`warehouse/erasure`), how it is asked for (`infra/cli/erase.py`).
"""
