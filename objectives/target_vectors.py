"""Targets: which vectors, one a position, an objective aggregates into what the prediction is pulled towards.

Each is a module with a `width`, and ``forward(trace, later) -> (B, T + later, width)``: vectors of the window's
positions and of the `later` tokens after it (``trace.targets`` holds the first of them, ``trace.later`` the rest). They
carry no gradient to the network. Past the end of the text a vector is zero. A target that knows nothing of tokens past
the window says so with ``inside_only = True``.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from deepsight.plug_ins import targets
from deepsight.trace import IGNORED, Shape, Trace
from objectives.teacher import Decay, Teacher, TeacherPlace, checked_place

Vectors = Float[Tensor, "batch positions width"]


def tokens_with_later(trace: Trace, later: int) -> Int[Tensor, "batch positions"]:
    """Return the window's tokens and the `later` ones after it; `IGNORED` where the text has ended."""
    if not later:
        return trace.tokens
    parts = [trace.tokens, trace.targets[:, -1:]]
    if trace.later is not None:
        parts.append(trace.later)
    return torch.cat(parts, dim=1)[:, : trace.tokens.shape[1] + later]


def embedded(trace: Trace, later: int) -> Vectors:
    """Return the token embeddings, without positions, of the window and of `later` tokens after it."""
    tokens = tokens_with_later(trace, later)
    known = tokens != IGNORED
    return F.embedding(tokens.where(known, 0), trace.unembedding.detach()) * known[..., None]


@targets.register(
    "input_embeddings",
    formula="E_i = token + position embedding, after dropout",
    source="the original DeepSight (2024)",
)
class InputEmbeddings(nn.Module):
    """Token + position embeddings as the network reads them, detached; the published choice.

    Tokens after the window have no position of their own, so there the embeddings must be rotary's, of tokens alone;
    the network does not read them, so there is no dropout on them.
    """

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.width = shape.width
        self.inside_only = shape.positions == "learned"

    def forward(self, trace: Trace, later: int) -> Vectors:
        """Return the detached input embeddings."""
        inside = trace.input_embeddings.detach()
        if not later:
            return inside
        return torch.cat([inside, embedded(trace, later)[:, inside.shape[1] :].to(inside.dtype)], dim=1)


@targets.register("token_embeddings", formula="E_i = token embedding", source="this project")
class TokenEmbeddings(nn.Module):
    """Token embeddings alone, without positions and dropout, detached."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.width = shape.width

    def forward(self, trace: Trace, later: int) -> Vectors:
        """Return the detached token embeddings."""
        return embedded(trace, later)


@targets.register(
    "bag_of_words",
    formula="E_i = the unit vector of token x_i, V wide",
    source="this project; its average over a window is the bag of words of Mahajan et al. (2025)",
)
class BagOfWords(nn.Module):
    """One-hot vectors of the tokens, so that an average of them is a bag of words.

    As wide as the vocabulary: it needs a predictor, and, with all rows held at once, a small vocabulary.
    """

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.width = shape.vocabulary

    def forward(self, trace: Trace, later: int) -> Vectors:
        """Return the one-hot vectors."""
        tokens = tokens_with_later(trace, later)
        every = torch.arange(self.width, device=tokens.device)
        return (tokens[..., None] == every).to(trace.input_embeddings.dtype)


@targets.register(
    "teacher",
    formula="E_i = (h'_i - mean h'_i) / std h'_i, h' = the state of an EMA copy of the network",
    source="Baevski et al. (2022), data2vec, with one layer; Grill et al. (2020)",
)
class TeacherStates(nn.Module):
    """States of a slow copy of the network, layer-normalised without gain.

    The teacher reads the window's own tokens only, each with those before it.

    Args:
        shape: of the model.
        place: which state: `encoder`, `decoder`, or `{layer: k}`.
        decay: the share of its weights that the teacher keeps at each step.

    Raises:
        UserError: the network has no such layer.

    """

    inside_only = True

    def __init__(self, shape: Shape, place: TeacherPlace = "encoder", decay: Decay = 0.999) -> None:
        super().__init__()
        self.width = shape.width
        self.place = checked_place(place, shape)
        self.teacher = Teacher(decay)

    def forward(self, trace: Trace, later: int) -> Vectors:
        """Return the teacher's states."""
        assert not later
        states = self.teacher.beside(trace).at(self.place)
        return F.layer_norm(states, (self.width,))
