"""Arms of equal budget: the steps with which a run reads, computes or takes as much as another one."""

from __future__ import annotations

import math
from collections.abc import Callable

from deepsight.config import RunConfig
from deepsight.counting import training_flops_per_token
from deepsight.errors import UserError, suggestion

BUDGETS = ("tokens", "flops", "time")
"""What the `match` of an arm's training may name."""

_UNITS = {"tokens": "tokens", "flops": "training FLOPs", "time": "measured seconds of training steps"}


def matched_steps(
    config: RunConfig,
    target: RunConfig,
    by: str,
    seconds_per_token: Callable[[RunConfig], float],
    target_name: str = "base",
) -> tuple[int, str]:
    """Return the training steps, at least one, that give `config` the budget of `target`, and a sentence about them.

    Args:
        config: the run whose steps are solved; those that it has are not read.
        target: the run whose budget it gets.
        by: one of `BUDGETS`. All tokens of a window count, those of a prefix that is not predicted too.
        seconds_per_token: measures a run's training steps; asked only where `by` is time.
        target_name: of the target, for the sentence.

    Raises:
        UserError: `by` is unknown, or a measured time is no positive number; the path is ("match",).

    """
    if by not in BUDGETS:
        raise UserError(f"unknown value {by!r}{suggestion(str(by), BUDGETS)}", ("match",))

    def each_step(run: RunConfig) -> float:
        tokens = run.training.batch_size * run.sequence_length
        if by == "tokens":
            return tokens
        return tokens * (training_flops_per_token(run) if by == "flops" else _positive(seconds_per_token(run)))

    wanted, one = target.training.steps * each_step(target), each_step(config)
    steps = max(1, round(wanted / one))
    found = steps * one
    note = (
        f"{steps:,} steps, solved to match the {_shown(wanted)} {_UNITS[by]} of {target_name!r}: "
        f"{_shown(found)} ({found / wanted - 1:+.2%})"
    )
    return steps, note


def _positive(seconds: float) -> float:
    if not 0 < seconds < math.inf:
        raise UserError(f"a time per token was measured as {seconds}, with which no steps can be solved", ("match",))
    return seconds


def _shown(amount: float) -> str:
    return f"{amount:,}" if isinstance(amount, int) else f"{amount:,.4g}"
