"""What the states of a network give away: how many directions they use, and what a linear map reads from them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

RIDGE = 1e-4
"""Weight of the probe's penalty, beside states scaled to a mean square of 1."""

States = npt.NDArray[np.float32]
"""One state a row, (states, width)."""


def effective_rank(states: States) -> float:
    """Return (Σλ)² / Σλ² of the covariance's eigenvalues λ: the number of directions if all had the same variance.

    This is the participation ratio; it is 0 where all states are equal.
    """
    centred = states.astype(np.float64) - states.mean(axis=0, dtype=np.float64)
    covariance = centred.T @ centred
    squared = float((covariance**2).sum())
    return float(np.trace(covariance)) ** 2 / squared if squared > 0 else 0.0


def probed(states: States, classes: npt.NDArray[np.int64], tested: States, number: int) -> npt.NDArray[np.int64]:
    """Return the class that a linear probe reads from each tested state.

    Ridge regression onto one column for each class, 1 where the state has it, in closed form; the largest one wins.

    Args:
        states: to fit on.
        classes: of these states, (states,).
        tested: states to read.
        number: of classes.

    """
    mean = states.mean(axis=0, dtype=np.float64)
    scale = float(np.sqrt(np.mean((states - mean) ** 2))) or 1.0
    known = (states - mean) / scale
    shares = np.bincount(classes, minlength=number) / len(classes)
    penalty = RIDGE * len(known) * np.eye(known.shape[1])
    weights = np.linalg.solve(known.T @ known + penalty, known.T @ (np.eye(number)[classes] - shares))
    return np.asarray(((tested - mean) / scale @ weights + shares).argmax(axis=1), dtype=np.int64)
