"""Consent: the decision, over columns and in SQL, and what is read of the registry."""
