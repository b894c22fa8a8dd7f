"""A vault that is not the one the tables were written with is refused: it would give every patient a second token."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pipelines.restore import refuse_other_tokens
from tests.warehouse.fenced import new_table
from warehouse.contract import Contracts, load_contracts
from warehouse.vault import SqliteVault, VaultError, open_vault

CONTRACTS = load_contracts()


def _vault(folder) -> SqliteVault:
    return open_vault(f"sqlite:///{folder / 'vault.sqlite'}", lambda: 0.0)


def test_the_vault_of_the_tables_is_accepted_again_and_another_is_refused_with_the_way_out(settings, tmp_path):
    new_table(settings)
    first = _vault(tmp_path / "first")
    refuse_other_tokens(settings, first, CONTRACTS)
    refuse_other_tokens(settings, _vault(tmp_path / "first"), CONTRACTS)
    with pytest.raises(VaultError, match="WARDSTREAM_VAULT_URI"):
        refuse_other_tokens(settings, _vault(tmp_path / "second"), CONTRACTS)


def test_other_tables_may_have_another_vault(settings, tmp_path):
    other = replace(settings, namespace=f"{settings.namespace}_other")
    for each in (settings, other):
        new_table(each)
    refuse_other_tokens(settings, _vault(tmp_path / "first"), CONTRACTS)
    refuse_other_tokens(other, _vault(tmp_path / "second"), CONTRACTS)


def test_another_identifier_system_of_a_stream_is_refused_and_a_new_stream_is_not(settings, tmp_path):
    new_table(settings)
    vault = _vault(tmp_path / "first")
    streams = tuple(CONTRACTS.values())
    without_labs = Contracts(tuple(stream for stream in streams if stream.name != "lab.results"))
    refuse_other_tokens(settings, vault, without_labs)
    refuse_other_tokens(settings, vault, CONTRACTS)
    renamed = tuple(
        replace(stream, topic=replace(stream.topic, key_system="urn:other"))
        if stream.name == "lab.results" and stream.topic
        else stream
        for stream in streams
    )
    with pytest.raises(VaultError, match="names patients by urn:other"):
        refuse_other_tokens(settings, vault, Contracts(renamed))
