"""The columnar state's own arithmetic; what it means is tried by the monitor's tests."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pipelines.clinical.carry_forward import running_maximum, stable_order

GROUPED = st.lists(st.tuples(st.integers(0, 4), st.integers(-(10**6), 10**6)), max_size=40)


def plain_running_maximum(group, value):
    return [max(v for g, v in zip(group[: i + 1], value, strict=False) if g == group[i]) for i in range(len(group))]


@given(rows=GROUPED, scale=st.sampled_from([1, 10**12]))
def test_the_running_maximum_knows_its_group_however_wide_the_values(rows, scale):
    rows = sorted(rows, key=lambda row: row[0])
    group = np.array([g for g, _ in rows], np.int64)
    value = np.array([v * scale for _, v in rows], np.int64)
    assert running_maximum(group, value).tolist() == plain_running_maximum(group.tolist(), value.tolist())


@given(st.lists(st.integers(0, 2**32 - 1) | st.integers(0, 3), max_size=60))
def test_the_order_is_that_of_a_stable_sort(keys):
    array = np.array(keys, np.int64)
    assert stable_order(array).tolist() == np.argsort(array, kind="stable").tolist()
