"""Which parameters two runs share by name and shape, and whether those start with the same bits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Start:
    """The initial weights of an arm beside the reference's, in one pair.

    Attributes:
        parameters: of the arm, those of its objectives included.
        shared: of them, those that the reference has by the same name in the same shape.
        equal: of these, those whose initial weights are bit-equal.

    """

    parameters: int
    shared: int
    equal: int

    @property
    def proven(self) -> bool:
        """Whether all that can be equal is."""
        return self.equal == self.shared


def start_of(weights: Any, reference_weights: Any) -> Start | None:
    """Compare two records of initial weights, parameter → ``shape:digest``; None unless both sides have one.

    A record without shapes cannot tell other weights from other shapes: what differs there does not count as shared.
    """
    if not (isinstance(weights, Mapping) and isinstance(reference_weights, Mapping)):
        return None
    common = [(str(weights[name]), str(reference_weights[name])) for name in weights if name in reference_weights]
    equal = sum(_digest(one) == _digest(other) for one, other in common)
    different = sum(
        _digest(one) != _digest(other) and _shape(one) is not None and _shape(one) == _shape(other)
        for one, other in common
    )
    return Start(parameters=len(weights), shared=equal + different, equal=equal)


def _shape(text: str) -> str | None:
    shape, colon, _ = text.rpartition(":")
    return shape if colon else None


def _digest(text: str) -> str:
    return text.rpartition(":")[2]
