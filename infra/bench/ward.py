"""A ward for latency: most patients are stable, and every second some fall ill whose alerts can be waited for.

Holds: who is ill when (by message number, so that it is the same at any machine's speed) and what monitors then show.
Does not hold: the fully scripted ward of tests and demo (infra/simulator), which is not made for 10,000 messages a
second.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from infra.bench.workload import Beds, KeyedMessage

PATIENTS = 2_000
ONSETS_PER_S = 2.0
FIRST_ONSET_S = 3.0
ILL_S = 20.0

# code, unit, value of a stable patient, its spread, value at the height of a deterioration
_SIGNALS = (
    (b"8867-4", b"/min", 72.0, 5.0, 138.0),
    (b"9279-1", b"/min", 15.5, 1.5, 29.0),
    (b"59408-5", b"%", 98.0, 0.8, 86.0),
    (b"8480-6", b"mm[Hg]", 128.0, 6.0, 84.0),
    (b"8310-5", b"Cel", 36.9, 0.3, 39.4),
)


class WardReadings:
    """Patients in turn, each showing its signals in turn. For `Workload`.

    Each patient falls ill at most once: of `PATIENTS` there are enough for `PATIENTS / ONSETS_PER_S` seconds.
    """

    def __init__(self, seed: int, rate: float) -> None:
        self._beds = Beds(PATIENTS)
        self._ill_messages = ILL_S * rate
        order = np.random.default_rng(seed).permutation(PATIENTS)
        self._onset = np.empty(PATIENTS)
        self._onset[order] = (FIRST_ONSET_S + np.arange(PATIENTS) / ONSETS_PER_S) * rate

    def __call__(
        self, rng: np.random.Generator, ids: np.ndarray, first: int, event_times: Sequence[bytes]
    ) -> list[KeyedMessage]:
        numbers = np.arange(first, first + len(ids))
        patients, kinds = numbers % PATIENTS, numbers // PATIENTS % len(_SIGNALS)
        stable, spread, ill = (np.array([signal[at] for signal in _SIGNALS])[kinds] for at in (2, 3, 4))
        since = numbers - self._onset[patients]
        is_ill = (since >= 0) & (since < self._ill_messages)
        values = np.where(is_ill, ill, stable) + spread * rng.uniform(-1, 1, len(ids)) * ~is_ill
        codes, units = ([_SIGNALS[kind][at] for kind in kinds.tolist()] for at in (0, 1))
        return self._beds.messages(patients, ids, codes, values, units, event_times, first)

    def ill(self, messages: int) -> list[str]:
        """Patients who have been ill long enough, after that many messages, to have shown every signal."""
        shown = messages - self._onset >= PATIENTS * (len(_SIGNALS) + 1)
        return [self._beds.keys[patient].decode() for patient in np.flatnonzero(shown).tolist()]
