"""Both components keep their contracts, and the objective's target is what its formula says."""

from __future__ import annotations

import math

import torch

from deepsight.testing import ObjectiveContract, Subject, System, check_part


class TestRecurrence(ObjectiveContract):
    """All that any objective must keep to."""

    objective = {"name": "recurrence", "n": 3}


def test_the_aggregator() -> None:
    check_part("aggregator", "first_and_last")


def test_the_loss_by_hand() -> None:
    subject = Subject({"name": "recurrence", "n": 3}, System("baseline", dtype=torch.float64), end_of_text=None)
    trace = subject.trace()
    assert trace.later is not None
    tokens = torch.cat([trace.tokens, trace.targets[:, -1:], trace.later], dim=1).tolist()
    scores = (trace.decoder_output @ subject.objectives.parts["recurrence"].head.weight[0]).tolist()
    losses = []
    for text, row in zip(tokens, scores, strict=True):
        for t, score in enumerate(row):
            sign = 1 if text[t] in text[t + 1 : t + 4] else -1
            losses.append(math.log1p(math.exp(-sign * score)))
    assert math.isclose(float(subject.said(trace)["loss"]), sum(losses) / len(losses), rel_tol=1e-10)
