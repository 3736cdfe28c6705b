"""Contrastive prediction: its value against a loop, what is a candidate, and what noise and order cost."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from deepsight.plug_ins import objectives
from deepsight.trace import Trace
from objectives.contrastive_prediction import ContrastivePrediction
from tests.objectives.states import END, SHAPE, WIDTH, counts_ahead, filled, flops, free_trace


def build(**parameters: Any) -> ContrastivePrediction:
    built: Any = objectives.build({"name": "contrastive_prediction", **parameters}, shape=SHAPE)
    return filled(built)


def latents_of(trace: Trace, latents: str) -> Tensor:
    chosen = {
        "encoder": trace.encoder_output,
        "decoder": trace.decoder_output,
        "input_embeddings": trace.input_embeddings,
        "token_embeddings": trace.unembedding[trace.tokens],
    }
    return chosen[latents].detach()


def looped(objective: ContrastivePrediction, trace: Trace, k: int, drawn: list[int], latents: str) -> float:
    """Return the loss of one step, candidate by candidate."""
    z, states = latents_of(trace, latents), trace.decoder_output.detach()
    batch, time = trace.tokens.shape
    found = []
    for row in range(batch):
        for t in range(time - k):
            if not counts_ahead(trace, row, t, k):
                continue
            predicted = objective.steps[k - 1].weight.detach() @ states[row, t]
            wrong = [(other, j) for other in range(batch) for j in drawn if (other, j) != (row, t + k)]
            scores = [float(predicted @ z[place]) / objective.temperature for place in [(row, t + k), *wrong]]
            found.append(-scores[0] + math.log(sum(map(math.exp, scores))))
    return sum(found) / max(1, len(found))


@given(
    batch=st.integers(1, 3),
    time=st.integers(1, 7),
    n=st.integers(1, 4),
    negatives=st.integers(1, 30),
    latents=st.sampled_from(["encoder", "decoder", "input_embeddings", "token_embeddings"]),
    prompt=st.integers(0, 3),
    end=st.sampled_from([None, END]),
)
def test_each_step_is_that_of_a_loop(
    batch: int, time: int, n: int, negatives: int, latents: str, prompt: int, end: int | None
) -> None:
    trace = free_trace(batch, time, prompt=prompt, end=end, seed=time)
    objective = build(n=n, negatives=negatives, latents=latents, temperature=0.7)
    torch.manual_seed(0)
    drawn = objective._drawn(trace).tolist()
    assert len(set(drawn)) == len(drawn) == min(time, math.ceil(negatives / batch))
    torch.manual_seed(0)
    said = objective(trace)
    expected = [looped(objective, trace, k, drawn, latents) for k in range(1, n + 1)]
    assert [said[f"step_{k}"].item() for k in range(1, n + 1)] == pytest.approx(expected, rel=1e-10, abs=1e-14)
    assert said["loss"].item() == pytest.approx(sum(expected) / n, rel=1e-10, abs=1e-14)


def test_both_sides_learn_and_a_constant_latent_costs_log_n() -> None:
    trace, objective = free_trace(3, 8), build(n=2, negatives=100)
    objective(trace)["loss"].backward()
    taught = (trace.decoder_output, trace.encoder_output, *objective.parameters())
    assert all(part.grad is not None and part.grad.any() for part in taught)
    constant = dataclasses.replace(trace, encoder_output=torch.ones_like(trace.encoder_output))
    # All 24 positions are candidates, the right one among them.
    assert objective(constant)["loss"].item() == pytest.approx(math.log(24), rel=1e-12)
    bound = objective.diagnostics(constant)["mutual_information"].item()
    assert bound == pytest.approx(0, abs=1e-12)


def test_steps_past_the_window_cost_nothing_and_give_their_matrices_zero_gradients() -> None:
    trace, objective = free_trace(time=3), build(n=5)
    said = objective(trace)
    assert said["step_2"] > 0
    assert [said[f"step_{k}"].item() for k in (3, 4, 5)] == [0, 0, 0]
    said["loss"].backward()
    assert [bool(step.weight.grad.any()) for step in objective.steps] == [True, True, False, False, False]


def test_a_hot_temperature_forgets_the_scores() -> None:
    loss = build(n=1, negatives=100, temperature=1e9)(free_trace(3, 8))["loss"].item()
    assert loss == pytest.approx(math.log(24), rel=1e-6)


def trained(noise: bool, steps: int = 150) -> tuple[float, dict[str, Tensor]]:
    """Train the matrices on new states at each step, and return the mean of the last losses, and diagnostics.

    The latents turn by a fixed rotation from position to position, and the state is the latent, so what comes is known;
    or else the state is noise of its own.
    """
    torch.manual_seed(0)
    objective = build(n=2, negatives=64)
    turn, _ = torch.linalg.qr(torch.randn(WIDTH, WIDTH, dtype=torch.float64))
    optimizer = torch.optim.Adam(objective.parameters(), lr=0.05)
    losses = []
    for _ in range(steps):
        path = [2 * F.normalize(torch.randn(8, WIDTH, dtype=torch.float64), dim=-1)]
        while len(path) < 12:
            path.append(path[-1] @ turn)
        latents = torch.stack(path, dim=1)
        state = torch.randn_like(latents) if noise else latents
        trace = dataclasses.replace(free_trace(8, 12), encoder_output=latents, decoder_output=state)
        loss = objective(trace)["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return sum(losses[-20:]) / 20, objective.diagnostics(trace)


def test_noise_costs_log_n_and_a_known_future_less() -> None:
    # 64 wrong candidates, less the right one where it is drawn.
    chance = math.log(65)
    loss, found = trained(noise=True)
    assert chance - 0.1 < loss < chance + 0.3
    assert found["mutual_information"] < 0.1
    loss, found = trained(noise=False)
    assert loss < chance / 2
    assert 0.5 * chance < found["mutual_information"] < chance


def test_costs_are_the_documented_ones() -> None:
    objective, trace = build(n=3, negatives=6), free_trace(3, 10)
    # Two drawn positions of three sequences. A step k leaves out k positions of the window as starting points.
    step = 3 * (2 * WIDTH**2 + 2 * WIDTH * 6)
    assert flops(lambda: objective(trace)["loss"]) == sum(step * 3 * (10 - k) for k in (1, 2, 3))
    assert sum(weight.numel() for weight in objective.parameters()) == 3 * WIDTH**2
