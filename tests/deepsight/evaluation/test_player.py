"""A network as a player: what it says is what its logits say."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from deepsight.data.player import Player
from deepsight.evaluation.player import NetworkPlayer
from tests.models import ARCHITECTURES, lively, random_tokens, small_model


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_answers_are_those_of_the_logits(architecture: str) -> None:
    model = lively(small_model(architecture)).train()
    tokens = random_tokens(model, 7, 9)
    player = NetworkPlayer(model, batch_size=3)
    assert isinstance(player, Player)
    logits = model.logits(tokens).detach()
    assert np.array_equal(player.predicted(tokens.numpy()), logits.argmax(dim=-1).numpy())
    np.testing.assert_allclose(player.probabilities(tokens.numpy()), logits.softmax(dim=-1).numpy(), atol=1e-6)
    states = model.states(model.embedding(tokens)).at("encoder").detach()
    np.testing.assert_allclose(player.states(tokens.numpy(), "encoder"), states.numpy(), atol=1e-5)
    known = tokens[:, :4]
    for _ in range(3):
        known = torch.cat([known, model.logits(known)[:, -1:].argmax(dim=-1)], dim=1)
    assert np.array_equal(player.continued(tokens[:, :4].numpy(), 3), known[:, 4:].numpy())
    assert model.training


def test_without_a_cache_it_reads_whole_sequences_and_says_the_same() -> None:
    model = lively(small_model("deepsight"))
    prompts, lengths = random_tokens(model, 3, 4).numpy(), []
    handle = model.encoder[0].register_forward_pre_hook(lambda _, given: lengths.append(given[0].shape[1]))
    cached = NetworkPlayer(model, 3).continued(prompts, 3)
    whole = NetworkPlayer(model, 3, use_cache=False).continued(prompts, 3)
    handle.remove()
    assert np.array_equal(cached, whole)
    assert lengths == [4, 1, 1, 4, 5, 6]


def test_dropout_is_off_while_it_answers() -> None:
    model = small_model("baseline", dropout=0.5).train()
    player = NetworkPlayer(model, batch_size=2)
    tokens = random_tokens(model, 2, 5).numpy()
    assert np.array_equal(player.probabilities(tokens), player.probabilities(tokens))


def test_an_architecture_that_predicts_later_positions_says_nothing_of_the_earlier() -> None:
    model = small_model({"name": "canonical"})
    first = type(model).first_predicted(model.config)
    assert first > 0
    said = NetworkPlayer(model, batch_size=2).probabilities(random_tokens(model, 2, 12).numpy())
    assert said.shape == (2, 12, model.vocabulary)
    assert not said[:, :first].any()
    np.testing.assert_allclose(said[:, first:].sum(axis=-1), 1, atol=1e-5)


def test_draws_do_not_depend_on_the_batch_size() -> None:
    model = lively(small_model("baseline"))
    prompts = random_tokens(model, 9, 3).numpy()
    one, other = (NetworkPlayer(model, size).continued(prompts, 4, temperature=1.0, seed=3) for size in (2, 5))
    assert np.array_equal(one, other)
    assert not np.array_equal(one, NetworkPlayer(model, 5).continued(prompts, 4, temperature=1.0, seed=4))
