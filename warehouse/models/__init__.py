"""Models in the lake: their files by content, what was decided of them, and what their stays looked like.

Holds: the store of files (`artefacts.py`), the register of models and of the roles they have from an append time on
(`registry.py`), the sealed lists of whom they learned from (`people.py`), profiles and looks of drift (`looks.py`).
Does not hold: what is in a model (`pipelines/clinical/`), nor whether one is good enough (the gate there).
"""
