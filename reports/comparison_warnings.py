"""What a reader must know of the comparison itself: whether it is paired, and what its A/A control says of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from reports import numbers
from reports.comparisons import Comparison, Pairs, controls
from reports.statistics import LEVEL
from reports.wording import counted, listed, named


def failed_control(comparisons: Mapping[str, Comparison]) -> Iterator[str]:
    """Say that the A/A control is found to differ, which shakes everything else."""
    for control in controls(comparisons):
        if control.significant:
            text = numbers.difference(control.mean, control.low, control.high)
            yield (
                f"The A/A control {named(control.arm)} differs from the reference ({text}, "
                f"{numbers.equation('p', control.p)}), though it is the reference with something inert added: the "
                f"comparison finds a difference where there is none. By chance this happens in {100 * LEVEL:g} % of "
                "studies; until it is explained, trust no verdict below."
            )


def inexact_control(comparisons: Mapping[str, Comparison]) -> Iterator[str]:
    """Say that the A/A control differs in bits alone, or is no control."""
    for control in controls(comparisons):
        pairs = control.pairs
        if pairs.same_run:
            yield f"The A/A control {named(control.arm)} means the same runs as the reference: it checks nothing."
        elif pairs.count and not pairs.bit_equal and not control.significant:
            differences = np.abs(pairs.differences)
            differ = int(np.count_nonzero(differences))
            yield (
                f"The A/A control {named(control.arm)} is not bit-equal to the reference: {differ} of "
                f"{counted(pairs.count, 'pair')} {'differs' if differ == 1 else 'differ'}, by at most "
                f"{numbers.significant(float(differences.max()), 2)} nats per token. On CUDA, where the order of a sum "
                "may change, this is expected; on a CPU with one thread it is not."
            )


def failed_pairing(comparisons: Mapping[str, Comparison]) -> Iterator[str]:
    """Say which arms are not proven to be paired, and what is missing."""
    unproven: dict[str, list[Pairs]] = {}
    for comparison in comparisons.values():
        if comparison.pairs.count and not comparison.pairs.proven:
            unproven.setdefault(comparison.pairs.reference, []).append(comparison.pairs)
    for reference, every in unproven.items():
        reasons = [f"{named(pairs.arm)} ({_missing(pairs)})" for pairs in every]
        yield (
            f"The comparison with {named(reference)} is not proven to be paired for {listed(reasons)}. "
            "These differences are taken seed by seed, but are not called paired."
        )


def _missing(pairs: Pairs) -> str:
    """Say what is not proven of an arm's pairs."""
    reasons = []
    if pairs.same_batches < pairs.count:
        reasons.append(f"the same batches in the same order in {pairs.same_batches} of {counted(pairs.count, 'pair')}")
    unequal = [start.shared - start.equal for start in pairs.known_starts if not start.proven]
    if unequal:
        most = max(unequal)
        reasons.append(
            f"{counted(most, 'shared parameter')} {'starts' if most == 1 else 'start'} unequal in {len(unequal)} of "
            f"{counted(pairs.count, 'pair')}"
        )
    return "; ".join(reasons)
