"""The control: what objectives read of it, and how its depth may be written."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.testing import assert_close

from deepsight.config import run_config
from deepsight.errors import UserError
from deepsight.merging import merged
from deepsight.presets import preset
from tests.models import lively, random_tokens, small_model


@pytest.mark.parametrize(("depth", "middle"), [(1, 1), (2, 1), (3, 2), (4, 2), (5, 3)])
def test_the_encoder_output_is_the_state_after_the_middle_layer(depth: int, middle: int) -> None:
    model = lively(small_model("baseline", layers=depth))
    tokens = random_tokens(model, 2, 7)
    hidden = model.embedding(tokens)
    states = [hidden := block(hidden) for block in model.blocks]
    trace = model(tokens, tokens)
    assert_close(trace.encoder_output, states[middle - 1], atol=0, rtol=0)
    assert_close(trace.decoder_output, model.final_norm(states[-1]), atol=0, rtol=0)


def test_a_pair_of_depths_is_added_up() -> None:
    one, pair = small_model("baseline", layers=5), small_model("baseline", layers=[3, 2])
    assert pair.config == one.config
    assert pair.config.layers == 5
    assert pair.config.cross_heads is None
    tokens = torch.zeros(1, 3, dtype=torch.int64)
    assert_close(one.logits(tokens), pair.logits(tokens), atol=0, rtol=0)


@pytest.mark.parametrize("layers", [0, [], [2, 0], [1, 1, 1]])
def test_other_depths_are_errors(layers: Any) -> None:
    data = merged(preset("tiny"), {"model.architecture": "baseline", "model.layers": layers})
    with pytest.raises(UserError, match=r"model.layers: baseline needs a number of layers, at least 1, not"):
        run_config(data)
