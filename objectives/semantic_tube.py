"""Semantic tube prediction: the states of a sequence should move along a straight line."""

from __future__ import annotations

from typing import Annotated, ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Int
from pydantic import Field
from torch import Tensor

from deepsight.objective import Objective
from deepsight.plug_ins import objectives
from deepsight.trace import Shape, Trace
from objectives.averaging import mean_where

Positions = Int[Tensor, " spans"]


@objectives.register(
    "semantic_tube",
    formula="mean 1 - cos(h_r - h_s, h_t - h_r), random s < r < t",
    source="Huang et al. (2026), arXiv 2602.22617, Semantic Tube Prediction",
)
class SemanticTube(Objective):
    """One minus the cosine between the ways that the state goes over two adjacent spans, s … r and r … t.

    It is zero where the states lie on a straight line, run through in one direction, and two where they turn back. It
    has no predictor and no stop-gradient: the next-token loss alone keeps the states apart. All three states learn from
    it, in myopic training (`training.myopic`) too.

    No extra parameters. About 10 · spans · C FLOPs a sequence, nothing beside the network's.

    The default coefficient, 0.1, is that of the authors' program, which draws one triple for each sequence. Here s, r
    and t are drawn uniformly among the positions of the window at each step, and all sequences of a batch share them,
    so that the loss does not depend on the sequences' order. A draw whose ends lie in two documents does not count for
    that sequence. A window of fewer than three positions has no loss.

    Args:
        shape: of the model.
        spans: triples s < r < t drawn at each step; their number is this project's choice.

    """

    coefficient: ClassVar[float] = 0.1

    def __init__(self, shape: Shape, spans: Annotated[int, Field(ge=1)] = 16) -> None:
        super().__init__()
        self.spans = spans

    def forward(self, trace: Trace) -> dict[str, Tensor]:
        """Return the mean over sequences and triples."""
        states = trace.attached
        if states.shape[1] < 3:
            return {"loss": 0.0 * states.sum()}
        start, middle, end = self._drawn(trace)
        before, after = states[:, middle] - states[:, start], states[:, end] - states[:, middle]
        turns = 1 - F.cosine_similarity(before, after, dim=-1)
        return {"loss": mean_where(turns, _in_one_document(trace, start, end))}

    def _drawn(self, trace: Trace) -> tuple[Positions, Positions, Positions]:
        """Return s, r and t: the places of the three largest of uniform numbers, in order."""
        uniform = torch.rand(self.spans, trace.tokens.shape[1], device=trace.tokens.device)
        start, middle, end = uniform.topk(3).indices.sort().values.unbind(dim=1)
        return start, middle, end


def _in_one_document(trace: Trace, start: Positions, end: Positions) -> Bool[Tensor, "batch spans"]:
    """Say for each sequence and pair whether no document ends between them; its last token belongs to a document."""
    if trace.end_of_text is None:
        return torch.ones(len(trace.tokens), len(start), dtype=torch.bool, device=start.device)
    ends = trace.tokens == trace.end_of_text
    document = ends.long().cumsum(dim=1) - ends.long()
    return document[:, start] == document[:, end]
