"""What lies ahead of each position, against a loop over the text."""

from __future__ import annotations

import dataclasses

import torch
from hypothesis import given
from hypothesis import strategies as st

from deepsight.trace import IGNORED, Trace
from tests.models import random_trace, small_model

END = 0


def trace_of(text: list[int], time: int, later: int, ignored: set[int]) -> Trace:
    """Return a trace of the first `time` tokens; `ignored` are positions without a next-token target."""
    tokens = torch.tensor([text[:time]])
    targets = torch.tensor([[IGNORED if t in ignored else text[t + 1] for t in range(time)]])
    beyond = torch.tensor([text[time + 1 : time + 1 + later]], dtype=torch.int64) if later else None
    state = torch.zeros(1, time, 2)
    return Trace(tokens, targets, state, state, state, torch.zeros(9, 2), later=beyond, end_of_text=END)


@given(data=st.data())
def test_what_lies_ahead_is_read_from_the_text(data: st.DataObject) -> None:
    time, later, k = (data.draw(st.integers(low, high)) for low, high in ((1, 9), (0, 4), (1, 12)))
    text = data.draw(st.lists(st.integers(0, 4), min_size=time + 1 + later, max_size=time + 1 + later))
    ignored = data.draw(st.sets(st.integers(0, time - 1)))
    found = trace_of(text, time, later, ignored).ahead(k)
    for t in range(time):
        place = t + k
        known = place < len(text) and not (place - 1 < time and place - 1 in ignored)
        # The last target is no input: ignored, nobody knows what it is.
        hidden = {time} if time - 1 in ignored else set()
        between = [text[p] for p in range(t + 1, min(place, len(text))) if p not in hidden]
        counts = known and END not in between
        assert found[0, t].item() == (text[place] if counts else IGNORED)


def test_the_next_token_is_one_ahead() -> None:
    trace = random_trace(small_model())
    assert torch.equal(trace.ahead(1), trace.targets)


def test_places_are_those_of_the_network() -> None:
    trace = random_trace(small_model("deepsight", layers=[2, 3]))
    assert trace.at("encoder") is trace.encoder_output is trace.at({"layer": 2})
    assert trace.at("decoder") is trace.decoder_output is trace.attached
    assert len(trace.layers) == 5
    chosen = dataclasses.replace(trace, state=trace.at({"layer": 4}))
    assert chosen.attached is trace.layers[3]
