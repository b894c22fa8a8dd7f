"""A seeded ward that plays itself into Kafka, with a ledger of what was sent and how each sending ended.

Holds: patients, monitors, deteriorations by script, artefacts, and every kind of bad input the product must survive.
Does not hold: anything of the product's own logic. The simulator stands for the outside world; it knows the message
format and what a right product must do with each message (`Event.fate`), never how the product does it.
"""
