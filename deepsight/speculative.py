"""Self-speculative decoding: an objective's heads guess tokens, and the network's next pass checks them all at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from deepsight.architecture import Architecture, States
from deepsight.errors import UserError
from deepsight.generation import check_finite, checked_prompt, generate
from deepsight.layers import LayerCache
from deepsight.trace import Place


@runtime_checkable
class Drafter(Protocol):
    """Guesses as a text grows: what `drafter(unembedding, context)` of an objective that can draft returns."""

    def guess(self, states: Float[Tensor, "1 new width"], text: Int[Tensor, " known"]) -> Int[Tensor, " guesses"]:
        """Return guesses for the tokens that follow a text; there may be none.

        Args:
            states: at the objective's place, of the positions that are new since the last call.
            text: so far, one token longer than the positions seen: the network has just chosen its last token.

        """
        ...


@dataclass(frozen=True)
class Drafting:
    """A trained objective that can draft, and the place where it reads the network."""

    objective: nn.Module
    place: Place

    def drafter(self, model: Architecture) -> Drafter:
        """Return a drafter for one text."""
        drafter: Drafter = self.objective.drafter(model.unembedding, model.config.context)  # type: ignore[operator]
        return drafter


@dataclass(frozen=True)
class Speculation:
    """A continuation, and what it took.

    Attributes:
        tokens: the continuation.
        passes: the network's forward passes, that over the prompt included.
        checks: (guesses, how many of them were right) of each pass that checked any; none counts after a wrong one.

    """

    tokens: Int[Tensor, " count"]
    passes: int
    checks: tuple[tuple[int, int], ...] = ()

    @property
    def drafted(self) -> int:
        """Tokens that were guessed and checked."""
        return sum(guesses for guesses, _ in self.checks)

    @property
    def accepted(self) -> int:
        """How many of them were right."""
        return sum(right for _, right in self.checks)

    @property
    def tokens_per_pass(self) -> float:
        """Tokens that one forward pass of the network gives; 1 without speculation."""
        return len(self.tokens) / self.passes


def speculate(
    model: Architecture,
    drafting: Drafting,
    prompt_tokens: Sequence[int] | Int[Tensor, " time"],
    count: int,
) -> Speculation:
    """Return `count` tokens that continue the prompt: those of greedy decoding, in fewer passes.

    Each pass reads the last chosen token and the guesses after it. Guesses are accepted while they are what the network
    chooses; its own choice follows them, and its key/value cache forgets the rejected ones. So the tokens are those of
    `generate` at temperature 0. Only where rounding decides between two tokens can they differ, since a pass over
    several tokens rounds otherwise than several passes. Once the text is longer than the context, every token has a
    pass of its own, as in `generate`.

    Args:
        model: its training mode is as before afterwards.
        drafting: an objective trained with this network.
        prompt_tokens: (T,).
        count: tokens to add.

    Raises:
        UserError: an empty prompt, token ids that the model does not know, or a count below 1.

    """
    prompt = checked_prompt(model, prompt_tokens)[0]
    if count < 1:
        raise UserError(f"the number of tokens to add must be at least 1, not {count}")
    modules = (model, drafting.objective)
    before = [module.training for module in modules]
    for module in modules:
        module.eval()
    try:
        with torch.inference_mode():
            return _continued(model, drafting, prompt, count)
    finally:
        for module, mode in zip(modules, before, strict=True):
            module.train(mode)


def _continued(model: Architecture, drafting: Drafting, prompt: Int[Tensor, " time"], count: int) -> Speculation:
    context, goal = model.config.context, len(prompt) + count
    drafter, cache = drafting.drafter(model), model.new_cache()
    text, drafts = prompt, prompt[:0]
    passes, checks = 0, []
    while len(text) < min(goal, context + 1):
        states = _read(model, torch.cat([text[model.tokens_read(cache) :], drafts]), cache)
        logits = states.decoder_output[0, -1 - len(drafts) :] @ model.unembedding.T
        if not passes:
            check_finite(logits)
        chosen = logits.argmax(dim=-1)
        right = int((drafts == chosen[:-1]).long().cumprod(dim=0).sum())
        wrong = len(drafts) - right
        passes += 1
        checks += [(len(drafts), right)] if len(drafts) else []
        text = torch.cat([text, chosen[: right + 1]])
        model.forget(cache, len(text) - 1)
        # The next pass gives one token beside the accepted ones, and reads no more than the context.
        room = min(goal - 1, context) - len(text)
        if room > 0:
            seen = states.at(drafting.place)
            drafts = drafter.guess(seen[:, : seen.shape[1] - wrong], text)[:room]
        else:
            drafts = text[:0]
    if rest := goal - len(text):
        text = torch.cat([text, generate(model, text, rest, temperature=0)[0]])
    return Speculation(text[len(prompt) :], passes + rest, tuple(checks))


def _read(model: Architecture, tokens: Int[Tensor, " new"], cache: list[LayerCache]) -> States:
    return model.states(model.embedding(tokens[None], start=model.tokens_read(cache)), cache)
