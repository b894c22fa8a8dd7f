"""What becomes of a rule's finding: episodes, withholding, and the message of `clinical.alerts`.

Holds: the alert, the policy that decides on it, and its JSON.
Does not hold: medicine (`pipelines/clinical/`), nor the producer that sends it (`pipelines/alert_producer.py`).
"""
