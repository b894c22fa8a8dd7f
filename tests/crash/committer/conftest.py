"""Servers for the committer harness beside those of tests/conftest.py."""

from tests.conftest_postgres import postgres

__all__ = ["postgres"]
