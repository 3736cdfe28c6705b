"""How many tokens objectives draft for their network, and that the text stays what it would be without them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Annotated, Any

import torch
from jaxtyping import Int
from pydantic import Field
from torch import Tensor

from deepsight.architecture import Architecture
from deepsight.errors import UserError
from deepsight.evaluation.probes.probe import Probe, Subject, Tables
from deepsight.generation import generate
from deepsight.plug_ins import probes
from deepsight.speculative import Drafting, Speculation, speculate
from deepsight.trace import IGNORED

ROUNDING = 1e-4
"""Two logits nearer than this share of the largest may change places with the order of sums in float32."""
PROMPT = 32
TOKENS = 64
"""What is read and written of text where a run does not say."""

Row = dict[str, Any]
Text = Int[Tensor, "_"]


@probes.register(
    "drafting",
    formula="tokens / passes of speculative decoding, at temperature 0",
    source="Gloeckle et al. (2024), section 3.2; checking: Stern et al. (2018), arXiv 1811.03115",
)
class DraftedTokens(Probe):
    """Decode with each objective that can draft: tokens a pass, guesses accepted, and that no token is another one.

    Prompts are the beginnings of held-out sequences: of text some tokens, of a task what precedes the answer. Every
    continuation is compared with plain greedy decoding.

    Tables: `drafting`, one row an objective: `tokens_per_pass` (1 without drafts), `accepted_per_pass`, `acceptance` of
    all guesses, `distinct`, the share of different tokens in a continuation (what repeats itself is drafted with ease),
    and `identical`, the share of prompts whose continuation is that of plain decoding, which must be 1. `ties` of them
    part where the two next logits are equal but for rounding, which is no fault of the drafts; what follows is then
    another text. `guesses`, one row an objective and guess of a pass (the first one is of the token after the next):
    how many were `drafted`, how many `reached`, as all before were right, and `accepted`; `acceptance` is of those
    drafted, `acceptance_if_reached` of those reached.

    Args:
        prompts: continued, at most.
        prompt: its tokens; 32 of text, or half the context where that is less, and all before the answer of a task,
            where it is null.
        tokens: of a continuation; 64 of text, and the rest of the sequence of a task, where it is null. It is cut where
            the context ends, past which nothing is drafted.

    """

    version = 2

    def __init__(
        self,
        prompts: Annotated[int, Field(ge=1)] = 32,
        prompt: Annotated[int, Field(ge=1)] | None = None,
        tokens: Annotated[int, Field(ge=1)] | None = None,
    ) -> None:
        self.prompts, self.prompt, self.tokens = prompts, prompt, tokens

    def check(self, subject: Subject) -> None:
        """Refuse a run none of whose objectives can draft, and a prompt that its network cannot read."""
        if not drafting_objectives(subject):
            there = ", ".join(subject.objectives.parts) or "it has none"
            raise UserError(
                f"none of this run's objectives ({there}) can draft tokens; multi_token, latent_multi_token, "
                "sequential_modules, joint_multi_token and next_latent can"
            )
        model = subject.model
        least, most = model.first_predicted(model.config) + 1, model.config.context
        if self.prompt is not None and not least <= self.prompt <= most:
            raise UserError(f"this network reads prompts of {least} to {most} tokens, not {self.prompt}", ("prompt",))

    def run(self, subject: Subject, alive: Callable[[], None]) -> Tables:
        """Return the tables `drafting` and `guesses`."""
        model, asked = subject.model, list(self._asked(subject))
        drafting: list[Row] = []
        guesses: list[Row] = []
        with _exact_products():
            plain = []
            for text, count in asked:
                alive()
                plain.append(generate(model, text, count, temperature=0)[0])
            for label, drafts in drafting_objectives(subject).items():
                found = []
                for text, count in asked:
                    alive()
                    found.append(speculate(model, drafts, text, count))
                about = {"prompts": len(asked), "prompt_tokens": sum(len(text) for text, _ in asked) / len(asked)}
                drafting.append(
                    {"objective": label, **about, **summed_up(found), **compared(model, asked, plain, found)}
                )
                guesses += [{"objective": label, **row} for row in by_guess(found)]
        return {"drafting": drafting, "guesses": guesses}

    def _asked(self, subject: Subject) -> Iterator[tuple[Text, int]]:
        """Yield prompts, and how many tokens are to follow each."""
        model, is_task = subject.model, subject.config.data.task is not None
        context, least = model.config.context, model.first_predicted(model.config) + 1
        windows = subject.source.windows(context=context, count=self.prompts)
        for batch in windows.batches(self.prompts):
            for row, targets in zip(batch.inputs, batch.targets, strict=True):
                length = self.prompt or (_answer(targets) if is_task else min(PROMPT, max(1, context // 2)))
                length = min(max(length, least), len(row))
                rest = len(row) + 1 - length if is_task else TOKENS
                # The last token that is chosen is not read any more.
                yield row[:length].to(subject.device), min(self.tokens or rest, context + 1 - length)


def drafting_objectives(subject: Subject) -> dict[str, Drafting]:
    """Return the objectives of a run that can draft, by label."""
    places = subject.objectives.places
    return {
        label: Drafting(part, place)
        for label, part in subject.objectives.parts.items()
        if (place := places[label]) is not None and hasattr(part, "drafter")
    }


def summed_up(found: Sequence[Speculation]) -> Row:
    """Return what some continuations took together."""
    tokens, passes = sum(len(one.tokens) for one in found), sum(one.passes for one in found)
    drafted, accepted = sum(one.drafted for one in found), sum(one.accepted for one in found)
    return {
        "tokens": tokens,
        "passes": passes,
        "tokens_per_pass": tokens / passes,
        "accepted_per_pass": accepted / passes,
        "drafted": drafted,
        "accepted": accepted,
        "acceptance": _ratio(accepted, drafted),
        "distinct": sum(len(set(one.tokens.tolist())) / len(one.tokens) for one in found) / len(found),
    }


def by_guess(found: Sequence[Speculation]) -> Iterator[Row]:
    """Yield one row for the first guess of a pass, the second, …."""
    checks = [check for one in found for check in one.checks]
    for guess in range(1, max((guesses for guesses, _ in checks), default=0) + 1):
        drafted = [(guesses, right) for guesses, right in checks if guesses >= guess]
        reached = sum(right >= guess - 1 for _, right in drafted)
        accepted = sum(right >= guess for _, right in drafted)
        yield {
            "guess": guess,
            "drafted": len(drafted),
            "reached": reached,
            "accepted": accepted,
            "acceptance": accepted / len(drafted),
            "acceptance_if_reached": _ratio(accepted, reached),
        }


def compared(
    model: Architecture, asked: Sequence[tuple[Text, int]], plain: Sequence[Text], found: Sequence[Speculation]
) -> Row:
    """Return which share of continuations is that of plain decoding, and how many part at a tie.

    A continuation that parts where the logits of the two tokens are equal but for rounding counts as that of plain
    decoding.
    """
    identical = ties = 0
    for (prompt, _), greedy, one in zip(asked, plain, found, strict=True):
        apart = (greedy != one.tokens).nonzero()
        tie = len(apart) > 0 and is_tie(model, torch.cat([prompt, greedy]), one.tokens, len(prompt), int(apart[0]))
        identical += tie or not len(apart)
        ties += tie
    return {"identical": identical / len(asked), "ties": ties}


@torch.inference_mode()
def is_tie(model: Architecture, text: Text, other: Text, start: int, place: int) -> bool:
    """Say whether two tokens that could come next are equally likely but for rounding.

    Args:
        model: the network.
        text: a prompt and a continuation of it.
        other: another continuation.
        start: tokens of the prompt.
        place: the token of the continuations at which they part.

    """
    known = text[: start + place]
    logits = model.next_logits(known[None, -model.config.context :])[0].double()
    margin = (logits[text[start + place]] - logits[other[place]]).abs()
    return bool(margin <= ROUNDING * logits.abs().max())


def _answer(targets: Int[Tensor, " time"]) -> int:
    """Return how many tokens precede the first that is an answer."""
    return int((targets != IGNORED).long().argmax()) + 1


def _ratio(part: int, whole: int) -> float | None:
    return part / whole if whole else None


@contextlib.contextmanager
def _exact_products() -> Iterator[None]:
    """Multiply matrices in all digits of float32 for a while, so that only real ties are decided by rounding."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)
