"""What is to be done to one table, worked out from its state. Pure: nothing is read or changed here.

Holds: the state of a table as upkeep sees it, the policy, the plan, and the reasons in words.
Does not hold: how a state is observed (observed.py), nor any doing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

EPOCH = date(1970, 1, 1)
OPEN_GROUPS = 16
"""Groups that a file is tried in, so that planning is linear in the number of files."""


@dataclass(frozen=True, slots=True)
class UpkeepPolicy:
    """How a table is to look.

    Attributes:
        target_bytes: of a compacted file, compressed. small_share: below this share of it a file is small.
        group_rows: most rows that are put into one file, which bounds the memory a compaction takes.
        least_files: fewer small files than these are let be, unless together they make a file of half the target.
        kept_snapshots: as many of the newest stay.
        manifest_files: files a manifest names when manifests are written anew. manifests_beyond: manifests more than
            needed that are let be.
        wait: how long an object that no snapshot names must have been marked before it is deleted: longer than the
            longest query, the longest commit, and the longest job of another engine that writes into the table.
        least_objects: fewer marked objects than these, no data file among them, are let be: each sweep is a commit.
    """

    target_bytes: int = 64 << 20
    small_share: float = 0.5
    group_rows: int = 2_000_000
    least_files: int = 4
    kept_snapshots: int = 20
    manifest_files: int = 1_000
    manifests_beyond: int = 8
    wait: timedelta = timedelta(hours=1)
    least_objects: int = 50

    def is_small(self, file: FileState) -> bool:
        """Whether a file would be better as a part of another."""
        return file.size_bytes < self.small_share * self.target_bytes and file.rows < self.small_share * self.group_rows


@dataclass(frozen=True, slots=True)
class FileState:
    """A data file of the head. `day`: days since 1970 UTC, None without one; `sequence`: of its rows."""

    location: str
    day: int | None
    size_bytes: int
    rows: int
    sequence: int = 0


@dataclass(frozen=True, slots=True)
class MarkState:
    """The last look for objects that nobody names: when (by the store's clock), at which head, what it found."""

    at: datetime
    sequence: int
    objects: int
    data_files: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class TableState:
    """A table as upkeep sees it at one head.

    Attributes:
        sequence: the head's sequence number, 0 without a head: so many commits the table has had.
        refused: why upkeep must not touch the table, in words; empty where it may.
        snapshots: how many there are. superseded: ids of those that may go, oldest first.
        manifests: how many files each of the head's manifests names.
        mark: the last look; None where there was none.
        sweeping: objects that a sweep which did not come to its end has still to delete; None where none is under way.
    """

    name: str
    sequence: int
    files: tuple[FileState, ...]
    snapshots: int
    superseded: tuple[int, ...]
    manifests: tuple[int, ...]
    refused: str = ""
    mark: MarkState | None = None
    sweeping: int | None = None

    @property
    def rows(self) -> int:
        return sum(file.rows for file in self.files)

    @property
    def size_bytes(self) -> int:
        return sum(file.size_bytes for file in self.files)

    @property
    def commits_since_look(self) -> int:
        """Commits since objects that nobody names were last sought."""
        return max(0, self.sequence - (self.mark.sequence if self.mark else 0))


@dataclass(frozen=True, slots=True)
class CompactionGroup:
    """Files of one partition day that become one."""

    day: int | None
    files: tuple[FileState, ...]
    reason: str

    @property
    def rows(self) -> int:
        return sum(file.rows for file in self.files)

    @property
    def size_bytes(self) -> int:
        return sum(file.size_bytes for file in self.files)


@dataclass(frozen=True, slots=True)
class UpkeepPlan:
    """What is to be done to a table, each with its reason; nothing where all is empty.

    Attributes:
        refused: why nothing is done although there might be something to do.
        manifests: why manifests are written anew; empty: they are not.
        sweep: `resume` (a sweep that was interrupted), `delete` (what was marked long enough ago), `wait` (marked, not
            yet long enough), `mark` (look for what nobody names) or `` (nothing new since the last look).
    """

    table: str
    refused: str = ""
    groups: tuple[CompactionGroup, ...] = ()
    expired: tuple[int, ...] = ()
    manifests: str = ""
    sweep: str = ""
    sweep_reason: str = ""

    @property
    def empty(self) -> bool:
        """Whether there is nothing to do now."""
        return not (self.groups or self.expired or self.manifests or self.sweep in ("resume", "delete", "mark"))


def plan_upkeep(state: TableState, policy: UpkeepPolicy, now: datetime) -> UpkeepPlan:
    """The plan for a state. `now`: the store's time, aware; only the wait before a deletion goes by it."""
    if state.refused or not state.sequence:
        return UpkeepPlan(state.name, refused=state.refused)
    groups = tuple(plan_compaction(state.files, policy))
    manifests = plan_manifests(state, policy, groups)
    expired = state.superseded
    changes = bool(groups or expired or manifests)
    sweep, reason = plan_sweep(state, policy, now, changes)
    return UpkeepPlan(state.name, "", groups, expired, manifests, sweep, reason)


def plan_compaction(files: Iterable[FileState], policy: UpkeepPolicy) -> list[CompactionGroup]:
    """Groups of small files of one day, each within the policy's bytes and rows.

    A file joins only such that are together at least as large as itself, so that a row is rewritten a number of times
    that grows with the logarithm of its day, however often this is asked.
    """
    by_day: dict[int | None, list[FileState]] = defaultdict(list)
    for file in files:
        if policy.is_small(file):
            by_day[file.day].append(file)
    days = sorted(by_day, key=lambda day: (day is not None, day or 0))
    return [
        CompactionGroup(day, tuple(packed), _why(packed, policy))
        for day in days
        for packed in map(_worth_it, _packed(by_day[day], policy))
        if _is_enough(packed, policy)
    ]


def plan_manifests(state: TableState, policy: UpkeepPolicy, groups: Sequence[CompactionGroup] = ()) -> str:
    """Why the head's manifests are to be written anew; empty where they are few enough."""
    fewer = sum(len(group.files) - 1 for group in groups)
    small = [files for files in state.manifests if files < policy.manifest_files]
    needed = -(-max(0, sum(small) - fewer) // policy.manifest_files)
    if len(small) - needed <= policy.manifests_beyond:
        return ""
    return f"{len(small)} manifests name what {max(needed, 1)} can"


def plan_sweep(state: TableState, policy: UpkeepPolicy, now: datetime, changes: bool = False) -> tuple[str, str]:
    """What to do about objects that nobody names, and why. `changes`: whether this run commits something itself."""
    if state.sweeping is not None:
        return "resume", f"a sweep of {state.sweeping} objects did not come to its end"
    mark = state.mark
    if mark is not None and (mark.data_files or mark.objects >= policy.least_objects):
        marked = f"{mark.objects} objects ({mark.size_bytes} bytes) that no snapshot names"
        ripe_at = mark.at + policy.wait
        if now >= ripe_at:
            return "delete", f"{marked} since {_instant(mark.at)}"
        return "wait", f"{marked}, marked {_instant(mark.at)}; to be deleted from {_instant(ripe_at)}"
    if changes or state.commits_since_look:
        return "mark", f"{state.commits_since_look} commits since the last look"
    return "", ""


def day_of(number: int | None) -> str:
    """A partition day as people write it."""
    return "no day" if number is None else (EPOCH + timedelta(days=number)).isoformat()


def _packed(files: list[FileState], policy: UpkeepPolicy) -> list[list[FileState]]:
    """First fit, largest first, in the last so many groups."""
    groups: list[list[FileState]] = []
    sizes: list[tuple[int, int]] = []
    for file in sorted(files, key=lambda f: (-f.size_bytes, f.sequence, f.location)):
        for at in range(max(0, len(groups) - OPEN_GROUPS), len(groups)):
            size, rows = sizes[at]
            if size + file.size_bytes <= policy.target_bytes and rows + file.rows <= policy.group_rows:
                groups[at].append(file)
                sizes[at] = size + file.size_bytes, rows + file.rows
                break
        else:
            groups.append([file])
            sizes.append((file.size_bytes, file.rows))
    return groups


def _worth_it(files: list[FileState]) -> list[FileState]:
    """Without those that are larger than all that would join them."""
    left = sum(file.size_bytes for file in files)
    for at, file in enumerate(files):
        left -= file.size_bytes
        if file.size_bytes <= left:
            return files[at:]
    return []


def _is_enough(files: list[FileState], policy: UpkeepPolicy) -> bool:
    if len(files) < 2:
        return False
    half = policy.target_bytes / 2, policy.group_rows / 2
    full = sum(f.size_bytes for f in files) >= half[0] or sum(f.rows for f in files) >= half[1]
    return full or len(files) >= policy.least_files


def _why(files: list[FileState], policy: UpkeepPolicy) -> str:
    mean = sum(file.size_bytes for file in files) / max(1, len(files))
    return f"{len(files)} files of {mean / 1024:.0f} KiB on average, where one may have {policy.target_bytes >> 20} MiB"


def _instant(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
