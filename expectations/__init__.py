"""What must be true of a table: suites derived from contracts, and the verdict on one day.

Great Expectations is used in this room only.
"""
