"""Sequential multi-token prediction: a chain of modules, each fed the token that the one before it predicts."""

from __future__ import annotations

from typing import Annotated, ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor, nn

from deepsight.errors import UserError
from deepsight.layers import LayerCache, Linear, Norm
from deepsight.objective import Objective
from deepsight.plug_ins import objectives
from deepsight.trace import Shape, Trace
from objectives.heads import WindowEnd, own_block
from objectives.target_vectors import tokens_with_later
from objectives.token_loss import token_loss

Hidden = Float[Tensor, "batch time width"]


class ChainedModule(nn.Module):
    """One depth of the chain: h′_t = block(M [norm(h_t); norm(e_t)])."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.state_norm = Norm(shape.width)
        self.embedding_norm = Norm(shape.width)
        self.join = Linear(2 * shape.width, shape.width)
        self.block = own_block(shape)
        self.output_norm = Norm(shape.width)

    def forward(self, states: Hidden, embeddings: Hidden, cache: LayerCache | None = None) -> tuple[Hidden, Hidden]:
        """Return the states of this depth, and normed what the output matrix reads of them."""
        joined = torch.cat([self.state_norm(states), self.embedding_norm(embeddings)], dim=-1)
        output = self.block(self.join(joined), cache)
        return output, self.output_norm(output)


@objectives.register(
    "sequential_modules",
    formula="(1/K) Σₖ -log softmax(U norm(hᵏ_t))[x_{t+k+1}], hᵏ = block(M [norm(hᵏ⁻¹_t); norm(E[x_{t+k}])])",
    source="DeepSeek-AI (2024), DeepSeek-V3, eq. 21-25",
)
class SequentialModules(Objective):
    """Cross-entropy of a chain of modules: depth k predicts x_{t+k+1} from depth k - 1 and the token x_{t+k}.

    Embedding E and output matrix U are the network's own, and learn from this loss too. The published weight λ is the
    run's coefficient, by default 0.3 as in most of the published training; a schedule may lower it. The norms are the
    network's layer norms, where the published model has root-mean-square norms everywhere.

    Training cost of each depth and token, for width C, vocabulary V and window T: 6 C V FLOPs for the logits and
    84 C² + 14 T C for the module; 14 C² + 5 C parameters.

    Args:
        shape: of the model.
        depth: K, how many tokens after the next one are predicted.
        window: `trim` leaves out targets past the window; `extend` reads the tokens that follow it.

    Raises:
        UserError: in no window of the context does the last depth have a target.

    """

    coefficient: ClassVar[float] = 0.3

    def __init__(self, shape: Shape, depth: Annotated[int, Field(ge=1)] = 1, window: WindowEnd = "trim") -> None:
        super().__init__()
        if window == "trim" and depth >= shape.context:
            raise UserError(f"the depth {depth} needs a context longer than {shape.context}", ("depth",))
        self.horizon = depth + 1
        self.lookahead = depth if window == "extend" else 0
        self.chain = nn.ModuleList(ChainedModule(shape) for _ in range(depth))

    def forward(self, trace: Trace) -> dict[str, Tensor]:
        """Return the mean over depths, and each depth's cross-entropy."""
        states, losses = trace.attached, {}
        for k, module in enumerate(self.chain, start=1):
            states, predicted = module(states, F.embedding(_fed(trace, k), trace.unembedding))
            losses[f"ahead_{k + 1}"] = token_loss(predicted, trace.unembedding, trace.ahead(k + 1))
        return {"loss": torch.stack(list(losses.values())).mean(), **losses}

    def drafter(self, unembedding: Float[Tensor, "vocabulary width"], context: int) -> _Drafter:
        """Return what guesses the tokens after the next one while a text is decoded."""
        return _Drafter(self, unembedding, context)


class _Drafter:
    """Greedy guesses along the chain: each depth is fed the guess of the one before it."""

    def __init__(
        self, objective: SequentialModules, unembedding: Float[Tensor, "vocabulary width"], context: int
    ) -> None:
        self._chain = objective.chain
        self._unembedding = unembedding
        self._caches = [LayerCache(context) for _ in self._chain]
        self._seen = 0
        self._last: Tensor | None = None

    def guess(self, states: Float[Tensor, "1 new width"], text: Int[Tensor, " known"]) -> Int[Tensor, " guesses"]:
        """Return guesses for the tokens that follow the text, whose last token no state has seen yet."""
        depth = len(self._chain)
        # At the depth - 1 positions before, modules were fed guesses: do these positions again.
        start = max(0, self._seen - (depth - 1))
        self._seen += states.shape[1]
        if self._last is not None:
            states = torch.cat([self._last, states], dim=1)
        self._last = states[:, max(0, states.shape[1] - (depth - 1)) :]
        fed, known = text, len(text)
        # Position 0 of the states may stand after a prefix of the text.
        shift = known - 1 - self._seen
        for k, (module, cache) in enumerate(zip(self._chain, self._caches, strict=True), start=1):
            cache.truncate(start)
            ahead = fed[None, shift + start + k :]
            states, predicted = module(states, F.embedding(ahead, self._unembedding), cache)
            logits = predicted[:, -1] @ self._unembedding.T
            fed = torch.cat([fed, logits.argmax(dim=-1)])
        return fed[known:]


def _fed(trace: Trace, k: int) -> Int[Tensor, "batch time"]:
    """Return x_{t+k}, which prompts have too; token 0 past what is known, where no target counts."""
    tokens = tokens_with_later(trace, k)[:, k:].clamp_min(0)
    return F.pad(tokens, (0, trace.tokens.shape[1] - tokens.shape[1]))
