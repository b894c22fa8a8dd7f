"""Whose data may serve a purpose that rests on consent.

Holds: the decision (`decision.py`), the same over columns (`histories.py`) and in SQL (`filters.py`), and what is read
of the registry in the lake (`registry.py`).
Does not hold: the withholding of rows in the stream (`pipelines/withhold.py`), the purge after a revoke.

Consent governs research, marketing and the streams that serve nothing else. Care, operations and payment rest on law:
nothing here is asked for them.
"""
