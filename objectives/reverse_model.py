"""Future summary by a reverse language model: its state, having read what comes, is what the head foretells."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

import torch
from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor

from deepsight.architecture import Architecture
from deepsight.initialisation import initialise
from deepsight.objective import Preparation
from deepsight.plug_ins import architectures, distances, objectives
from deepsight.trace import IGNORED, Place, Shape, Trace
from objectives.averaging import mean_where
from objectives.comparing import Comparing, Vectors
from objectives.multi_token import HEADS
from objectives.token_loss import token_loss


@objectives.register(
    "reverse_model",
    formula="mean over t, C of (f(h)_t - sg a_t)², a_t = the state of a reverse model that has read x_T … x_{t+2}",
    source="Mahajan et al. (2025), FSP-RevLM, arXiv 2510.14751",
)
class ReverseModel(Comparing):
    """Squared error between a head on the state at t and a reverse model's state after x_T, x_{T-1}, …, x_{t+2}.

    The reverse model is a second network of the same configuration with weights of its own, which reads the window
    backwards and learns to foretell x_{t+1} from x_{t+2} … x_T. Its state at that point sums up the future in so far as
    it bears on x_{t+1}. Only its own loss teaches it: nothing of the head's error reaches it, nor does its loss reach
    the network.

    Two things differ from the paper, which trains the reverse model first and then freezes it. Here both learn in one
    run, so early targets say little; `freeze_after` fixes the reverse model after a share of the steps. And the squared
    error is averaged over the C dimensions, not added, so that a coefficient suits every width; a coefficient C times
    as large gives the paper's. The reverse model's gradient counts in the norm that gradient clipping sees.

    Parameters: the network's again (embeddings included), trained, and the head's: 12 C² + 3 C (`block`) or C²
    (`linear`). FLOPs a token in training: the network's again while the reverse model learns, a third of that
    after; and 72 C² + 12 T C or 6 C² for the head. Compare with that in mind: equal data is not equal compute.

    A position counts where x_{t+2} stands in the window, counts as a target, and belongs to the document of x_{t+1}.
    What lies behind the end of that document is read by the reverse model first, like an earlier document by the
    network. Prompts are read, and count in neither loss.

    Where the network covers a window's later positions alone, as `canonical` does, the reverse model reads these and is
    decoder-only, of the same width and as many layers: a prefix seen at once would show it what it has to foretell.

    Args:
        shape: of the model.
        head: `block`, as published, is a transformer block and a norm; `linear` a square matrix.
        freeze_after: share of the training steps after which the reverse model no longer learns; 1 for never, and 0
            leaves it at its initial weights.

    """

    attach: ClassVar[Place | None] = "decoder"
    reverse: Architecture | None

    def __init__(
        self,
        shape: Shape,
        head: Literal["block", "linear"] = "block",
        freeze_after: Annotated[float, Field(ge=0.0, le=1.0)] = 1.0,
    ) -> None:
        super().__init__()
        self.head = HEADS[head](shape)
        self.distance = distances.build("mse")
        self.freeze_after = freeze_after
        self.frozen = False
        self.reverse = None

    def prepare(self, preparation: Preparation) -> None:
        """Build the reverse model, with initial weights of its own."""
        model = preparation.model
        config = model.config
        if model.first_predicted(config):
            factory: Any = architectures["baseline"].factory
            config = factory.normalised(config.model_copy(update={"architecture": "baseline"}))
        reverse = architectures.build(config.architecture, config=config, vocabulary=model.vocabulary)
        initialise(reverse, preparation.seed, "objective.reverse_model.")
        self.reverse = reverse.to(model.unembedding)

    def progress(self, share: float) -> None:
        """Freeze the reverse model once its share of the steps is done."""
        self.frozen = self.freeze_after < 1 and share >= self.freeze_after

    def forward(self, trace: Trace) -> dict[str, Tensor]:
        """Return the sum of both losses, and each: `summary` and, while it learns, `reverse_next_token`."""
        states = self.read_backwards(trace)
        prediction, target = self._paired(trace, states)
        counts = trace.ahead(2)[:, : target.shape[1]] != IGNORED
        summary = mean_where((prediction - target).square().mean(dim=-1), counts)
        if self.frozen:
            return {"loss": summary, "summary": summary}
        own = token_loss(states, self._prepared().unembedding, _tokens_before(trace))
        return {"loss": summary + own, "summary": summary, "reverse_next_token": own}

    def sides(self, trace: Trace) -> tuple[Vectors, Vectors]:
        """Return what the head says of each position but the last two, and the reverse model's states."""
        return self._paired(trace, self.read_backwards(trace))

    def read_backwards(self, trace: Trace) -> Float[Tensor, "batch time width"]:
        """Return the reverse model's states, (B, T, C): row i has read the window's last token … its i-th."""
        reverse = self._prepared()
        if self.frozen:
            reverse.eval()
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            backwards = trace.tokens.flip(1)
            read: Trace = reverse(backwards, backwards)
            return read.decoder_output.flip(1)

    def _paired(self, trace: Trace, states: Float[Tensor, "batch time width"]) -> tuple[Vectors, Vectors]:
        target = states.detach()[:, 2:]
        return self.head(trace.attached)[:, : target.shape[1]], target

    def _prepared(self) -> Architecture:
        if self.reverse is None:
            raise RuntimeError("there is no reverse model before prepare(preparation) is called")
        return self.reverse


def _tokens_before(trace: Trace) -> Int[Tensor, "batch time"]:
    """Return for each position i the token x_{i-1}, where the network has to foretell it too."""
    # Position i of the targets is x_{i+1}; that of the first token is unknown to them.
    unknown = torch.full_like(trace.targets[:, :1], IGNORED).expand(-1, 2)
    return torch.cat([unknown, trace.targets], dim=1)[:, : trace.targets.shape[1]]
