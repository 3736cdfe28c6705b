"""Contrastive predictive coding: tell the latent k positions ahead from latents of other places."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from pydantic import Field
from torch import Tensor, nn

from deepsight.layers import Linear
from deepsight.objective import SequentialObjective, Term
from deepsight.plug_ins import objectives
from deepsight.ranks import first_of_whole_batch, of_whole_batch, processes
from deepsight.trace import IGNORED, Shape, Trace
from objectives.averaging import mean_where
from objectives.diagnostics import effective_rank, mean_cosine, mean_variance

Latents = Float[Tensor, "batch time width"]


class Contrast(NamedTuple):
    """What one step says of every position with a successor so far away.

    Attributes:
        losses: -log of the share that the right latent has among all candidates.
        candidates: how many there are, the right one included.
        counts: whether the position counts.

    """

    losses: Float[Tensor, "batch rows"]
    candidates: Int[Tensor, "batch rows"]
    counts: Bool[Tensor, "batch rows"]


@objectives.register(
    "contrastive_prediction",
    formula="mean over k, t of -log exp(z_{t+k}ᵀ W_k h_t / τ) / Σⱼ exp(zⱼᵀ W_k h_t / τ)",
    source="van den Oord et al. (2018), eq. 3 and 4",
)
class ContrastivePrediction(SequentialObjective):
    """InfoNCE over n steps: a linear map W_k of the state at t scores the true latent z_{t+k} against others.

    In the paper an encoder gives a latent z for each position and a second network reads them in order; both learn.
    Here the state is the attached one and z is by default the encoder's output, the input of the decoder, which is
    the same division. The gradient reaches z through the right candidate and the wrong ones, as published; a constant z
    costs log N, so the loss cannot be lowered by a collapse. Myopic training (`training.myopic`) does not change this:
    candidates stand at earlier positions too, so z at these learns from the loss at t.

    Parameters: n · C². FLOPs a token in a forward pass: n · (2 C² + 2 C N) for N candidates; three times that in
    training.

    Wrong candidates are the latents of all sequences (of a micro-batch, in all processes) at positions drawn anew at
    each step: other times of the same sequence are among them, else telling sequences apart would do. The drawn
    positions are the same for all sequences, which lets the loss not depend on the sequences' order. One that is the
    right candidate is left out. Where the window or the document has ended, a step does not count.

    Args:
        shape: of the model.
        n: steps ahead, each with a matrix of its own.
        latents: what z is: a state, or the embeddings with or without positions.
        negatives: wrong candidates, about; rounded up to a multiple of the sequences, and at most all positions.
        temperature: τ, which divides the scores; the paper has none.

    """

    def __init__(
        self,
        shape: Shape,
        n: Annotated[int, Field(ge=1)] = 12,
        latents: Literal["encoder", "decoder", "input_embeddings", "token_embeddings"] = "encoder",
        negatives: Annotated[int, Field(ge=1)] = 128,
        temperature: Annotated[float, Field(gt=0.0)] = 1.0,
    ) -> None:
        super().__init__()
        self.horizon = n
        self.latents = latents
        self.negatives = negatives
        self.temperature = temperature
        self.steps = nn.ModuleList(Linear(shape.width, shape.width) for _ in range(n))

    def terms(self, trace: Trace) -> Iterator[Term]:
        """Yield the loss of each step, weighted equally."""
        drawn = self._drawn(trace)
        for k in range(1, len(self.steps) + 1):
            contrast = self._contrast(trace, k, drawn)
            yield Term(f"step_{k}", mean_where(contrast.losses, contrast.counts), 1 / len(self.steps))

    @torch.no_grad()
    def diagnostics(self, trace: Trace) -> dict[str, Tensor]:
        """Return what shows a collapse of z, and the bound that the loss gives.

        `mutual_information` is log N less the loss, averaged over the steps: at most as large as the information, in
        nats, that state and latent have in common (eq. 5), and as log N.
        """
        drawn, latents = self._drawn(trace), self._latents(trace)
        contrasts = [self._contrast(trace, k, drawn) for k in range(1, len(self.steps) + 1)]
        bounds = [
            mean_where(found.candidates.to(found.losses).log() - found.losses, found.counts) for found in contrasts
        ]
        return {
            "mutual_information": torch.stack(bounds).mean(),
            "target_variance": mean_variance(latents),
            "target_effective_rank": effective_rank(latents),
            "target_mean_cosine": mean_cosine(latents),
        }

    def _latents(self, trace: Trace) -> Latents:
        if self.latents == "encoder" or self.latents == "decoder":
            return trace.at(self.latents)
        return trace.input_embeddings if self.latents == "input_embeddings" else trace.token_embeddings

    def _drawn(self, trace: Trace) -> Int[Tensor, " drawn"]:
        """Return different positions, enough for the wanted number of candidates over all sequences."""
        batch, time = trace.tokens.shape
        wanted = min(time, -(-self.negatives // (batch * processes())))
        return torch.randperm(time, device=trace.tokens.device)[:wanted]

    def _contrast(self, trace: Trace, k: int, drawn: Int[Tensor, " drawn"]) -> Contrast:
        """Score the latents k positions ahead against those at the drawn positions of all sequences."""
        # The latents are asked for again at each step: its graph may be freed before the next.
        latents = self._latents(trace)
        batch, time, _ = latents.shape
        others, first = of_whole_batch(latents[:, drawn]), first_of_whole_batch(batch)
        rows = max(0, time - k)
        predicted = self.steps[k - 1](trace.attached[:, :rows])
        right = (predicted * latents[:, k:]).sum(dim=-1, keepdim=True)
        wrong = torch.einsum("btc,sdc->btsd", predicted, others)
        same_time = torch.arange(k, k + rows, device=drawn.device)[:, None] == drawn
        sequences = torch.arange(others.shape[0], device=drawn.device)
        same_sequence = sequences[first : first + batch, None] == sequences
        taken = same_sequence[:, None, :, None] & same_time[None, :, None]
        scores = torch.cat([right, wrong.masked_fill(taken, -torch.inf).flatten(2)], dim=-1) / self.temperature
        # Sums of exponentials in bfloat16 would be rough.
        scores = scores.to(torch.promote_types(scores.dtype, torch.float32))
        candidates = 1 + (~taken).flatten(2).sum(dim=-1)
        counts = trace.ahead(k)[:, :rows] != IGNORED
        return Contrast(scores.logsumexp(dim=-1) - scores[..., 0], candidates, counts)
