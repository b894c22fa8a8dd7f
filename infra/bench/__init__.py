"""Benchmarks of the product against a bare loop and against its own promises: `python -m infra.bench`.

Not part of the product: nothing imports from here.
"""
