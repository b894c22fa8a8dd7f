"""What a patient's readings mean: signals carried forward, thresholds, NEWS2, and the monitor that puts them together.

Holds: pure rules over columns, and the columnar state of the subjects they need.
Does not hold: whether an alert goes out (`pipelines/alerts/policy.py`), Kafka, the lake, or any clock.
"""
