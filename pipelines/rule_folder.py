"""A site's folder of rule packs, looked at again and again: what is in force, and why a new file is not.

Holds: when the folder is looked at, which packs are taken, and what is wrong with the others.
Does not hold: the form of a pack (`pipelines/clinical/rule_packs.py`), or any rule.

A file that cannot be used changes nothing: the packs read last stay, and `trouble` says what to mend. So does a pack
that would hold from a time already decided on: a replay would decide otherwise than the stream did. At a start any time
will do, for then everything is decided by the packs that are there.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

from pipelines.clinical.rule_packs import PacksInForce, RulePack, RulePackError, load

_LOG = logging.getLogger(__name__)

LOOK_AGAIN_S = 2.0


class RuleFolder:
    """Not thread-safe: asked between batches. `clock`: seconds that never run backwards."""

    def __init__(self, folder: Path, clock: Callable[[], float]) -> None:
        self._folder, self._clock = folder, clock
        self._looked_at = clock()
        self._seen: tuple = ()
        self._packs: list[RulePack] = []
        self.packs, self.trouble = PacksInForce(), ""
        self._look(decided_ms=0)

    def said(self) -> dict[str, object]:
        """For the status file."""
        return {"packs": [f"{pack.name} {pack.version}" for pack in self._packs], "trouble": self.trouble}

    def look(self, decided_ms: int) -> bool:
        """Whether other packs are in force than before. `decided_ms`: the newest append time decided on."""
        if self._clock() - self._looked_at < LOOK_AGAIN_S:
            return False
        self._looked_at = self._clock()
        return self._look(decided_ms)

    def _look(self, decided_ms: int) -> bool:
        try:
            seen = tuple((p.name, p.stat().st_mtime_ns, p.stat().st_size) for p in sorted(self._folder.glob("*.y*ml")))
            if seen == self._seen:
                return False
            self._seen = seen
            packs = load(self._folder)
            self._refuse_the_past(packs, decided_ms)
            self._packs, self.packs, self.trouble = packs, PacksInForce(packs), ""
            _LOG.info(
                "rule packs in force: built in, %s", ", ".join(f"{p.name} {p.version}" for p in packs) or "no other"
            )
            return True
        except (RulePackError, OSError) as error:
            self.trouble = str(error) if isinstance(error, RulePackError) else f"{self._folder}: cannot be read"
            _LOG.warning("rule packs stay as they were: %s", self.trouble)
            return False

    def _refuse_the_past(self, packs: list[RulePack], decided_ms: int) -> None:
        known = {(pack.version, pack.from_ms) for pack in self._packs}
        changed = known ^ {(pack.version, pack.from_ms) for pack in packs}
        late = sorted(version for version, from_ms in changed if from_ms <= decided_ms)
        if late or self._rewritten(packs, decided_ms):
            raise RulePackError(
                f"version {', '.join(late) or 'in force'} would hold from a time that is already decided on; give it a "
                "later `from`, at least ten seconds from now, and leave earlier packs as they are"
            )

    def _rewritten(self, packs: list[RulePack], decided_ms: int) -> bool:
        """Whether a pack that has decided something says something else now."""
        before = {pack.version: pack for pack in self._packs if pack.from_ms <= decided_ms}
        return any(pack.version in before and before[pack.version] != pack for pack in packs)
