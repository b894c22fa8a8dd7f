"""Whoever acts is named by the operating system, and by nothing that they can set."""

from __future__ import annotations

import os
import pwd

import pytest

from infra.cli.caller import caller


def test_a_variable_makes_nobody_another(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.setenv(name, "somebody-else")
    assert caller() == pwd.getpwuid(os.geteuid()).pw_name


def test_an_account_without_a_name_is_its_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 4_000_123_456)
    assert caller() == "uid-4000123456"
