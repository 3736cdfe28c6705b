"""Prompts of planning tasks: they are read, and count in no token-level loss of any objective."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from deepsight.building import check_buildable
from deepsight.config import run_config
from deepsight.data.tasks.path_star import PathStar
from deepsight.data.tasks.sequences import batch_of
from deepsight.errors import UserError
from deepsight.loss import next_token_loss
from deepsight.objective import Preparation
from deepsight.objectives_of_run import Objectives
from deepsight.plug_ins import objectives
from deepsight.trace import IGNORED
from tests.models import lively, small_model

TASK = PathStar()

TOKEN_LEVEL = {
    "multi_token": {"n": 4},
    "bag_of_words": {"tau": 4},
    "token_order": {"window_size": 4},
    "sequential_modules": {"depth": 3},
    "joint_multi_token": {"n": 3},
    "register_token": {"furthest": 4},
    "latent_multi_token": {"n": 4},
    "belief_state": {},
    "teacherless": {"dummy": 13},
    "reverse_model": {},
}
OF_STATES = {
    "future_context": {"n": 4},
    "embedding": {},
    "next_latent": {},
    "contrastive_prediction": {"n": 4},
    "representation": {"n": 4},
    "semantic_tube": {},
}
"""Objectives of states or embeddings, which a prompt has too."""


def test_every_objective_is_of_one_kind() -> None:
    assert {*TOKEN_LEVEL, *OF_STATES, "inert"} == set(objectives.names())


@pytest.mark.parametrize("name", TOKEN_LEVEL)
def test_where_all_is_prompt_there_is_no_loss_and_no_gradient(name: str) -> None:
    model = lively(small_model("baseline", vocabulary=14, context=24, layers=2))
    built = Objectives([{"name": name, "coefficient": 1.0, **TOKEN_LEVEL[name]}], model.shape, seed=0)
    built.prepare(Preparation(model, lambda: torch.ones(14, dtype=torch.int64)))
    inputs, targets, _ = batch_of(TASK, TASK.draw(np.random.RandomState(0), 3))
    trace = model(inputs, targets)
    assert float(built.losses(trace, 0, 0)[name]["loss"].detach()) > 0
    nothing = torch.full_like(targets, IGNORED)
    loss = built.losses(dataclasses.replace(model(inputs, nothing), targets=nothing), 0, 0)[name]["loss"]
    assert float(loss.detach()) == 0.0
    if loss.requires_grad:
        loss.backward()
    weights = [*model.parameters(), *built.parameters()]
    assert not any(weight.grad is not None and weight.grad.any() for weight in weights)


def test_the_prompt_is_no_target_of_the_next_token_loss() -> None:
    model = lively(small_model("deepsight", vocabulary=14, context=24))
    sequences = TASK.draw(np.random.RandomState(1), 4)
    inputs, targets, _ = batch_of(TASK, sequences)
    logits = model.logits(inputs)[:, TASK.prompt_length - 1 :].double()
    answers = torch.from_numpy(sequences[:, TASK.prompt_length :])
    expected = torch.nn.functional.cross_entropy(logits.flatten(0, 1), answers.flatten())
    torch.testing.assert_close(next_token_loss(model(inputs, targets)).double(), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("objective", "said"),
    [
        ({"name": "multi_token", "n": 5}, "multi_token looks 5 tokens ahead, and an answer of the task has 4"),
        ("bag_of_words", "bag_of_words looks 12 tokens ahead, and an answer of the task has 4"),
        ({"name": "joint_multi_token", "n": 4}, "joint_multi_token looks 5 tokens ahead"),
        ({"name": "sequential_modules", "depth": 4}, "sequential_modules looks 5 tokens ahead"),
        ({"name": "token_order", "window_size": 9}, "token_order looks 9 tokens ahead"),
        ({"name": "register_token", "furthest": 7}, "register_token looks 7 tokens ahead"),
        ("future_context", "future_context looks 11 tokens ahead"),
        ("representation", "representation looks 11 tokens ahead"),
        ("contrastive_prediction", "contrastive_prediction looks 12 tokens ahead"),
        ({"name": "next_latent", "steps": 4}, "next_latent looks 5 tokens ahead"),
        ({"name": "multi_token", "n": 3, "stride": 2}, "multi_token looks 5 tokens ahead"),
    ],
)
def test_an_objective_that_looks_past_the_answer_is_refused(objective: object, said: str) -> None:
    config = run_config(
        {
            "model": {"architecture": "baseline", "width": 8, "layers": 1, "heads": 1, "context": 24},
            "data": {"task": "path_star"},
            "objective": objective,
            "training": {"steps": 1, "batch_size": 1, "learning_rate": 1e-3},
            "evaluation": {"every": 1},
        }
    )
    with pytest.raises(UserError, match=rf"^objective\.0: {said}.*at most 4 ahead$"):
        check_buildable(config)
