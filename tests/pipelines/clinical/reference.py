"""The alerts of a ward, worked out one row at a time, by the words of the specification and nothing of ours.

Holds: the chart, the limits and the policy written a second time, as plainly as possible; slow on purpose.
Does not hold: any import of the product, nor texts of alerts: it tells which alerts, when and why withheld.

Times are whole milliseconds. A reading counts from its event time, or from its append if it says to be of later. A
reading is a dict with `token`, `code`, `number`, `word`, `flag`, `event`, `appended`,
`partition`, `offset`; an alert a dict with `rule`, `token`, `start`, `level`, `offset`, `partition`, `clock`,
`withheld`.
"""

from math import floor, isnan

MINUTE = 60_000
HOUR = 60 * MINUTE

REARM, COOL_DOWN, LAPSE, TIME_TO_LIVE = 10 * MINUTE, 30 * MINUTE, 4 * HOUR, 15 * MINUTE

NAMES = {
    "9279-1": "respiratory_rate",
    "59408-5": "spo2",
    "3151-8": "supplemental_oxygen",
    "8480-6": "sbp",
    "8867-4": "heart_rate",
    "80288-4": "level_of_consciousness",
    "8310-5": "temperature",
    "8478-0": "map",
}
CARRY = {"supplemental_oxygen": 4 * HOUR, "level_of_consciousness": 4 * HOUR, "temperature": 4 * HOUR}  # others: 1 h


def rounded(name, value):
    return floor(value * 10 + 0.5) / 10 if name == "temperature" else floor(value + 0.5)


def points(name, value):
    """NEWS2's points of one parameter."""
    v = rounded(name, value)
    if name == "respiratory_rate":
        return 3 if v <= 8 else 1 if v <= 11 else 0 if v <= 20 else 2 if v <= 24 else 3
    if name == "spo2":
        return 3 if v <= 91 else 2 if v <= 93 else 1 if v <= 95 else 0
    if name == "supplemental_oxygen":
        return 2 if v else 0
    if name == "sbp":
        return 3 if v <= 90 else 2 if v <= 100 else 1 if v <= 110 else 0 if v <= 219 else 3
    if name == "heart_rate":
        return 3 if v <= 40 else 1 if v <= 50 else 0 if v <= 90 else 1 if v <= 110 else 2 if v <= 130 else 3
    if name == "level_of_consciousness":
        return 3 if v else 0
    return 3 if v <= 35.0 else 1 if v <= 36.0 else 0 if v <= 38.0 else 1 if v <= 39.0 else 2


def threshold(name, value):
    """Level of a single signal and whether it is clear; None where no limit is set."""
    v = rounded(name, value)
    if name == "respiratory_rate":
        return 2 if v <= 8 or v >= 25 else 1 if v >= 21 else 0, 10 <= v <= 19
    if name == "spo2":
        return 2 if v <= 91 else 1 if v <= 93 else 0, v >= 95
    if name == "sbp":
        return 2 if v <= 90 or v >= 220 else 1 if v <= 100 else 0, 105 <= v <= 215
    if name == "heart_rate":
        return 2 if v <= 40 or v >= 131 else 1 if v >= 111 else 0, 45 <= v <= 106
    if name == "level_of_consciousness":
        return 2 if v else 0, not v
    if name == "temperature":
        return 2 if v <= 35.0 else 1 if v >= 39.1 else 0, 35.3 <= v <= 38.8
    if name == "map":
        return 2 if v <= 64 else 1 if v <= 69 else 0, v >= 72
    return None


def news2(known):
    """Level and clearness of NEWS2 over the signals known now."""
    scores = {name: points(name, value) for name, value in known.items() if name != "map"}
    total, highest = sum(scores.values()), max(scores.values(), default=0)
    level = 3 if total >= 7 else 2 if total >= 5 else 1 if highest == 3 else 0
    complete = {"respiratory_rate", "spo2", "sbp", "heart_rate", "temperature"} <= scores.keys()
    return level, complete and total <= 3 and highest < 3


def qsofa(known):
    """Sepsis-3's bedside score: its level, and whether it is clear."""
    points = (rounded("r", known.get("respiratory_rate", 0)) >= 22) + (rounded("s", known.get("sbp", 999)) <= 100)
    points += known.get("level_of_consciousness", 0) > 0
    return (0, 0, 1, 2)[points], points < 2 and {"respiratory_rate", "sbp"} <= known.keys()


def shock_index(known):
    """Pulse over systolic pressure."""
    if not {"heart_rate", "sbp"} <= known.keys():
        return 0, False
    index = known["heart_rate"] / known["sbp"]
    return 2 if index >= 1.0 else 1 if index >= 0.9 else 0, index < 0.9 - 0.1


def sirs(known):
    """Criteria that vital signs alone can meet: two of three are enough."""
    count = 0
    if "temperature" in known:
        t = rounded("temperature", known["temperature"])
        count += t > 38.0 or t < 36.0
    count += "heart_rate" in known and rounded("h", known["heart_rate"]) > 90
    count += "respiratory_rate" in known and rounded("r", known["respiratory_rate"]) > 20
    return int(count >= 2), count < 2 and {"temperature", "heart_rate", "respiratory_rate"} <= known.keys()


def number_of(reading):
    """The reading's value as a number, or None."""
    name, word, value = NAMES[reading["code"]], reading["word"], reading["number"]
    if value is not None and not isnan(value):
        return float(value > 0) if name == "supplemental_oxygen" else value
    if name == "supplemental_oxygen":
        return {"air": 0.0, "oxygen": 1.0}.get(word)
    if name == "level_of_consciousness":
        return {"A": 0.0, "C": 1.0, "V": 2.0, "P": 3.0, "U": 4.0}.get(word)
    return None


def counts_from(reading):
    """No device knows what comes after now."""
    return reading["appended"] if reading["event"] > reading["appended"] else reading["event"]


class Episode:
    def __init__(self, start):
        self.start, self.alerting, self.clear_since, self.sent, self.recorded = start, start, None, 0, 0


class Ward:
    """Reads rows one by one; `alerts` grows."""

    def __init__(self, now=None):
        self.now, self.alerts = now, []
        self.newest, self.clock, self.open, self.last_sent = {}, {}, {}, {}

    def read(self, reading):
        token, name = reading["token"], NAMES.get(reading["code"])
        if token is None or name is None or reading["flag"] is not None or number_of(reading) is None:
            return
        at = counts_from(reading)
        if (token, name) in self.newest and at < self.newest[token, name][0]:
            return
        self.newest[token, name] = (at, number_of(reading))
        self.clock[token] = max(self.clock.get(token, at), at)
        known = self.known(token)
        if threshold(name, 0) is not None:
            found = threshold(name, known[name]) if name in known else (0, False)
            self.judge(reading, f"threshold.{name}", *found)
        self.judge(reading, "news2", *news2(known))
        self.judge(reading, "qsofa", *qsofa(known))
        self.judge(reading, "shock_index", *shock_index(known))
        self.judge(reading, "sirs", *sirs(known))

    def known(self, token):
        now = self.clock[token]
        mine = {name: reading for (owner, name), reading in self.newest.items() if owner == token}
        return {name: value for name, (at, value) in mine.items() if now - at <= CARRY.get(name, HOUR)}

    def judge(self, reading, rule, level, clear):
        pair, clock = (rule, reading["token"]), self.clock[reading["token"]]
        episode = self.open.get(pair)
        if episode and clock - episode.alerting > LAPSE:
            episode = self.open.pop(pair) and None
        if level:
            episode = self.open.setdefault(pair, episode or Episode(clock))
            self.alert(reading, pair, episode, level, clock)
            episode.alerting, episode.clear_since = clock, None
        elif episode and clear:
            episode.clear_since = clock if episode.clear_since is None else episode.clear_since
            if clock - episode.clear_since >= REARM:
                del self.open[pair]
        elif episode:
            episode.clear_since = None

    def alert(self, reading, pair, episode, level, clock):
        withheld = self.withheld(reading, pair, level, clock)
        if level <= episode.sent or (withheld and level <= episode.recorded):
            return
        if withheld is None:
            episode.sent, self.last_sent[pair] = level, (clock, level)
        episode.recorded = max(episode.recorded, level)
        self.alerts.append(
            {
                "rule": pair[0],
                "token": pair[1],
                "start": episode.start,
                "level": level,
                "partition": reading["partition"],
                "offset": reading["offset"],
                "clock": clock,
                "withheld": withheld,
            }
        )

    def withheld(self, reading, pair, level, clock):
        if self.now is not None and reading["appended"] + TIME_TO_LIVE <= self.now:
            return "expired"
        sent_at, sent_level = self.last_sent.get(pair, (0, 0))
        return "cool_down" if level <= sent_level and clock - sent_at < COOL_DOWN else None


def alerts_of(readings, now=None):
    """All alerts of the readings, in the order they arise; of one reading, in the order of the rules' numbers."""
    ward = Ward(now)
    for reading in readings:
        ward.read(reading)
    return ward.alerts
