"""A vault that is not the one the tables were written with is refused: it would give every patient a second token."""

from __future__ import annotations

from dataclasses import replace

import pytest

from infra.planning import contracts
from pipelines.restore import refuse_another_vault
from warehouse.vault import SqliteVault, VaultError, open_vault


def _vault(folder) -> SqliteVault:
    return open_vault(f"sqlite:///{folder / 'vault.sqlite'}", lambda: 0.0)


def test_the_vault_of_the_tables_is_accepted_again_and_another_is_refused_with_the_way_out(settings, tmp_path):
    contracts.apply(settings)
    first = _vault(tmp_path / "first")
    refuse_another_vault(settings, first)
    refuse_another_vault(settings, _vault(tmp_path / "first"))
    with pytest.raises(VaultError, match="WARDSTREAM_VAULT_URI"):
        refuse_another_vault(settings, _vault(tmp_path / "second"))


def test_other_tables_may_have_another_vault(settings, tmp_path):
    other = replace(settings, namespace=f"{settings.namespace}_other")
    for each in (settings, other):
        contracts.apply(each)
    refuse_another_vault(settings, _vault(tmp_path / "first"))
    refuse_another_vault(other, _vault(tmp_path / "second"))
