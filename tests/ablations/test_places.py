"""Where trials run: never more than cores, memory and devices hold, and always at least one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ablations.places import DEVICE_OVERHEAD, Need, Places, workers_that_fit

needs = st.builds(Need, memory=st.integers(0, 100), device=st.integers(0, 10 * DEVICE_OVERHEAD))


@given(st.lists(needs, max_size=12), st.integers(1, 5), st.none() | st.integers(0, 150), st.integers(0, 3))
def test_what_runs_at_once_fits(wanted: list[Need], workers: int, memory: int | None, devices: int) -> None:
    free = [4 * DEVICE_OVERHEAD] * devices
    places = Places(workers, memory, free)
    for need in wanted:
        given_place = places.take(need)
        assert len(places.taken) <= workers
        assert given_place is not None or places.taken, "the first always has a place"
        if memory is not None and len(places.taken) > 1:
            assert sum(place.need.memory for place in places.taken) <= memory
        for device in range(devices):
            here = [place for place in places.taken if place.device == device]
            if len(here) > 1:
                assert sum(place.need.device + DEVICE_OVERHEAD for place in here) <= free[device]
    for place in list(places.taken):
        places.give_back(place)
    assert places.taken == []


def test_a_device_takes_several_small_trials_and_the_emptiest_is_next() -> None:
    places = Places(9, None, [3 * DEVICE_OVERHEAD, 2 * DEVICE_OVERHEAD])
    given_places = [places.take(Need()) for _ in range(6)]
    assert [place.device if place else None for place in given_places] == [0, 0, 1, 0, 1, None]


@pytest.mark.parametrize(
    ("cores", "need", "memory", "fit"), [(8, 3, 10, 3), (2, 3, 10, 2), (4, 0, 10, 4), (4, 3, None, 4), (4, 30, 10, 1)]
)
def test_workers_are_limited_by_cores_and_memory(cores: int, need: int, memory: int | None, fit: int) -> None:
    assert workers_that_fit(cores, Need(memory=need), memory) == fit
