"""Sampling: a model continues token ids, one at a time, with a key/value cache while the context lasts."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from deepsight.architecture import Architecture
from deepsight.errors import UserError
from deepsight.random_streams import derive

Logits = Float[Tensor, "batch vocabulary"]
NextTokens = Int[Tensor, " batch"]


def generate(
    model: Architecture,
    prompt_tokens: Sequence[int] | Int[Tensor, " time"] | Int[Tensor, "batch time"],
    count: int,
    *,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    seed: int = 0,
    use_cache: bool = True,
) -> Int[Tensor, "batch count"]:
    """Return `count` tokens that continue each row of the prompt.

    Every row draws from a stream of its own, of (seed, row): neither other rows nor a larger `count` change it, and
    torch's global generator is not touched. Once the text is longer than the model's context, the last `context` tokens
    are read anew at each step: they have moved to other positions, so nothing in a cache would still hold.

    Args:
        model: its training mode is as before afterwards.
        prompt_tokens: (T,) or (B, T); where T is above the context, the last `context` tokens are read.
        count: tokens to add.
        temperature: logits are divided by it; 0 always takes the likeliest token.
        top_k: sample among the k likeliest tokens.
        top_p: sample among the likeliest tokens that together hold this share (Holtzman et al., 2020).
        seed: the same seed gives the same tokens.
        use_cache: False reads everything anew at each step, which is slower and gives the same.

    Raises:
        UserError: an empty prompt, token ids that the model does not know, or a parameter out of range.

    """
    prompt = checked_prompt(model, prompt_tokens)
    _check_parameters(count, temperature, top_k, top_p)
    # Drawn on the CPU, where a seed means the same numbers whatever the model runs on.
    draws = _draws(seed, rows=prompt.shape[0], count=count).to(prompt.device)
    was_training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            added = _continued(model, prompt, draws, temperature, top_k, top_p, use_cache)
    finally:
        model.train(was_training)
    # A copy made outside inference mode is an ordinary tensor, which may be trained on.
    return added.clone()


def next_tokens(
    logits: Logits,
    draws: Float[Tensor, " batch"],
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
) -> NextTokens:
    """Choose one token a row: that at which the cumulated probability passes the row's draw from [0, 1)."""
    if temperature == 0:
        return logits.argmax(dim=-1)
    logits = logits.double()
    if temperature != 1:
        # Only differences count; with the largest at zero, no small temperature makes a NaN of it.
        logits = (logits - logits.amax(dim=-1, keepdim=True)) / temperature
    if top_k is not None:
        logits = keep_top_k(logits, top_k)
    if top_p is not None:
        logits = keep_top_p(logits, top_p)
    cumulated = logits.softmax(dim=-1).cumsum(dim=-1)
    # Right: a token without probability is never chosen, not even by a draw of zero.
    return torch.searchsorted(cumulated, draws[:, None] * cumulated[:, -1:], right=True).squeeze(-1)


def keep_top_k(logits: Logits, k: int) -> Logits:
    """Return logits with all but the k largest of each row at minus infinity; ties with the k-th stay."""
    smallest_kept = logits.topk(min(k, logits.shape[-1])).values[:, -1:]
    return logits.masked_fill(logits < smallest_kept, -torch.inf)


def keep_top_p(logits: Logits, p: float) -> Logits:
    """Return logits with all but the fewest likeliest tokens that together hold at least `p` at minus infinity."""
    if p == 1:
        return logits
    ranked, order = logits.sort(dim=-1, descending=True, stable=True)
    probabilities = ranked.softmax(dim=-1)
    # A token goes when those before it hold p already; the likeliest has none before it.
    gone = probabilities.cumsum(dim=-1) - probabilities >= p
    return logits.masked_fill(torch.empty_like(gone).scatter_(-1, order, gone), -torch.inf)


def _continued(
    model: Architecture,
    prompt: Int[Tensor, "batch time"],
    draws: Float[Tensor, "batch count"],
    temperature: float,
    top_k: int | None,
    top_p: float | None,
    use_cache: bool,
) -> Int[Tensor, "batch count"]:
    context, read = model.config.context, prompt.shape[1]
    tokens = torch.cat([prompt, prompt.new_empty(draws.shape)], dim=1)
    cache = model.new_cache() if use_cache else None
    for step, end in enumerate(range(read, tokens.shape[1])):
        if cache is not None and end <= context:
            logits = model.next_logits(tokens[:, model.tokens_read(cache) : end], cache)
        else:
            logits = model.next_logits(tokens[:, max(0, end - context) : end])
        if step == 0:
            check_finite(logits)
        tokens[:, end] = next_tokens(logits, draws[:, step], temperature, top_k, top_p)
    return tokens[:, read:]


def _draws(seed: int, rows: int, count: int) -> Float[Tensor, "rows count"]:
    streams = [torch.Generator().manual_seed(derive(seed, "sampling", row)) for row in range(rows)]
    return torch.stack([torch.rand(count, generator=stream, dtype=torch.float64) for stream in streams])


def check_finite(logits: Float[Tensor, "rows vocabulary"]) -> None:
    """Raise a UserError where logits are not finite numbers."""
    if not logits.isfinite().all():
        raise UserError("the model's logits are not finite numbers; its training has diverged")


def checked_prompt(model: Architecture, prompt_tokens: Sequence[int] | Tensor) -> Int[Tensor, "batch time"]:
    """Return a prompt as rows of token ids on the model's device.

    Raises:
        UserError: it is empty, or holds what are no token ids of the model.

    """
    prompt = torch.as_tensor(prompt_tokens, device=model.unembedding.device)
    if prompt.numel() == 0:
        raise UserError("the prompt is empty; give at least one token, such as that of the end of a text")
    if prompt.is_floating_point() or prompt.is_complex() or prompt.dtype == torch.bool:
        raise UserError(f"token ids are whole numbers, not {str(prompt.dtype).removeprefix('torch.')}")
    if prompt.ndim not in (1, 2):
        raise UserError(f"a prompt has the shape (time) or (batch, time), not {tuple(prompt.shape)}")
    prompt = prompt.long().reshape(-1, prompt.shape[-1])
    smallest, largest = int(prompt.min()), int(prompt.max())
    if smallest < 0 or largest >= model.vocabulary:
        wrong = smallest if smallest < 0 else largest
        raise UserError(f"the token id {wrong} is not in the vocabulary; known: 0 to {model.vocabulary - 1}")
    return prompt


def _check_parameters(count: int, temperature: float, top_k: int | None, top_p: float | None) -> None:
    if count < 1:
        raise UserError(f"the number of tokens to add must be at least 1, not {count}")
    # Written so that NaN fails too.
    if not 0 <= temperature < float("inf"):
        raise UserError(f"the temperature must be 0 or above, not {temperature}")
    if top_k is not None and top_k < 1:
        raise UserError(f"top_k must be at least 1, not {top_k}")
    if top_p is not None and not 0 < top_p <= 1:
        raise UserError(f"top_p must be above 0 and at most 1, not {top_p}")
