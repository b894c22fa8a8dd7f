"""`wardstream rules list | check`: which rules are in force, with which numbers, and whether a file could be.

Holds: the two questions and what is printed.
Does not hold: the form of a pack (`pipelines/clinical/rule_packs.py`), or its reloading (`pipelines/rule_folder.py`).

Exit codes: 0 listed, or the file can be used; 1 it cannot, or a pack of the folder cannot; 2 there is no such file.
"""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from infra.cli import answers

if TYPE_CHECKING:
    from pathlib import Path

    from pipelines.clinical.rule_packs import RulePack
    from warehouse.settings import Settings

FINE, UNUSABLE, NO_FILE = 0, 1, 2
AHEAD = timedelta(seconds=10)
"""How far ahead `from` should lie, so that every stream has read the file by then."""


def list_rules(settings: Settings, now: datetime, *, as_json: bool = False) -> int:
    """Print the rules in force at `now`, and the packs that come. Returns the exit code."""
    from pipelines.clinical.rule_packs import PacksInForce, RulePackError, load

    trouble, site = "", []
    try:
        site = load(settings.rules)
    except RulePackError as error:
        trouble = str(error)
    packs = PacksInForce(site)
    pack = packs.nth(packs.at(round(now.timestamp() * 1000)))
    coming = [each for each in site if each.from_ms > now.timestamp() * 1000]
    if as_json:
        print(json.dumps({"pack": _pack(pack), "coming": [_pack(each) for each in coming], "trouble": trouble}))
    else:
        print(f"pack {answers.printable(pack.name)}, version {pack.version}; a site's packs lie in {settings.rules}")
        print("\n".join(answers.aligned(["rule", "version", "wards", "numbers"], _cells(pack), [False] * 4)))
        for each in coming:
            print(f"from {_iso(each)}: {answers.printable(each.name)}, version {each.version}")
    if trouble:
        print(f"{answers.printable(trouble)}: mend it, or take it out of the folder", file=sys.stderr)
    return UNUSABLE if trouble else FINE


def check(path: Path, now: datetime, *, as_json: bool = False) -> int:
    """Print what the file would change, or what is wrong with it. Returns the exit code."""
    from pipelines.clinical.rule_packs import RulePackError, built_in, read_file

    if not path.is_file():
        print(f"{path}: there is no such file", file=sys.stderr)
        return NO_FILE
    try:
        pack = read_file(path)
    except RulePackError as error:
        print(json.dumps({"usable": False, "why": str(error)}) if as_json else answers.printable(str(error)))
        return UNUSABLE
    base = built_in()
    changed = [name for name in pack.rules if pack.rules[name] != base.rules.get(name)]
    late = pack.from_ms < (now + AHEAD).timestamp() * 1000
    if as_json:
        print(json.dumps({"usable": True, "pack": _pack(pack), "changed": changed, "late": late}))
        return FINE
    print(f"{path.name} can be used: {answers.printable(pack.name)}, version {pack.version}, from {_iso(pack)}")
    for name in changed:
        print(f"  {name}: {_difference(base, pack, name)}")
    if late:
        print(f"`from` is not {AHEAD.seconds} s ahead: a stream that runs will not take it; give it a later one")
    return FINE


def _pack(pack: RulePack) -> dict[str, Any]:
    import msgspec

    rules = {name: {"version": pack.versions[name], **msgspec.to_builtins(rule)} for name, rule in pack.rules.items()}
    return {"name": pack.name, "version": pack.version, "from": _iso(pack) if pack.from_ms else None, "rules": rules}


def _cells(pack: RulePack) -> list[list[str]]:
    import msgspec

    cells = []
    for name, rule in pack.rules.items():
        told = msgspec.to_builtins(rule)
        numbers = [
            f"{field} {value:g}"
            for field, value in told.items()
            if isinstance(value, int | float) and field != "enabled"
        ]
        wards = ", ".join(map(answers.printable, rule.wards)) or "all"
        cells.append([name, pack.versions[name], wards if rule.enabled else "off", ", ".join(numbers)])
    return cells


def _difference(base: RulePack, pack: RulePack, name: str) -> str:
    import msgspec

    before = msgspec.to_builtins(base.rules[name]) if name in base.rules else {}
    after = msgspec.to_builtins(pack.rules[name])
    told = [
        f"{field} {_word(before.get(field))} → {_word(value)}"
        for field, value in after.items()
        if before.get(field) != value
    ]
    return ", ".join(told)


def _word(value: object) -> str:
    if isinstance(value, tuple | list):
        return answers.printable(", ".join(map(str, value))) or "all"
    return "none" if value is None else answers.printable(f"{value:g}" if isinstance(value, float) else str(value))


def _iso(pack: RulePack) -> str:
    return datetime.fromtimestamp(pack.from_ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
