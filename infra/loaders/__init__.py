"""Public data sets as events of our streams, one file a source.

Holds: which columns and items of a source become which code and unit, told in a table that can be printed.
Does not hold: the data (not ours to redistribute), Kafka (`infra/cli/replay.py`), nor any conversion of a unit: a value
leaves as its source has it, under the UCUM word for what the source calls its unit.

Each stay is shifted by one constant, so that the time between its events stays as it was and its end lies in the recent
past.
"""
