"""What guessing at a planning task reaches by luck, so that a number a little above chance is not taken for skill."""

from __future__ import annotations

import math

from ablations.stored import StoredArm, StoredStudy
from reports.success import Success

ERRORS = 1.96
"""Standard errors that a share of guesses lies above chance in one of forty cases."""


def is_guessing(study: StoredStudy, success: Success) -> bool:
    """Return whether the mean accuracy of an arm is at chance, below it, or above by no more than luck gives.

    Luck is that of as many independent guesses as the seeds were asked sequences, by the normal approximation of the
    binomial; without luck where that number is not known. False where chance is not told.
    """
    if not (success.count and math.isfinite(success.chance)):
        return False
    sequences = _sequences(study, study.arm(success.arm))
    spread = math.sqrt(max(success.chance * (1 - success.chance), 0.0))
    luck = ERRORS * spread / math.sqrt(sequences * success.count) if sequences else 0.0
    return success.mean <= success.chance + luck


def _sequences(study: StoredStudy, arm: StoredArm) -> int:
    """Return how many sequences a trial is asked; 0 where it is all that there are."""
    evaluation = (arm.config or study.base).get("evaluation") or {}
    return int(evaluation.get("windows") or 0)
