"""The seam between network and losses: losses read detached leaves, and their gradients go once through the network.

Each loss is differentiated down to the leaves only, and its graph is freed before the next loss is made. So several
heads over a large vocabulary need the memory of one, and the share of the gradient that each objective has is known
without a second backward pass. The sum of the gradients is that of the weighted sum of the losses.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import torch
from torch import Tensor

from deepsight.trace import Trace

Gradients = dict[int, Tensor]
"""Place (an index into `Seam.states`) → gradient."""


class Seam:
    """One forward pass whose losses are differentiated one after another.

    Args:
        trace: of the network; `self.trace` is the same with detached leaves in place of its states.

    """

    def __init__(self, trace: Trace) -> None:
        self.states: list[Tensor] = []
        self.leaves: list[Tensor] = []
        self.gradients: dict[str, Gradients] = {}
        self._arriving: Gradients = {}
        known: dict[int, Tensor] = {}

        def leaf_of(state: Tensor) -> Tensor:
            if id(state) not in known:
                known[id(state)] = leaf = state.detach().requires_grad_(state.requires_grad)
                self.states.append(state)
                self.leaves.append(leaf)
            return known[id(state)]

        self.trace: Trace = dataclasses.replace(
            trace,
            layers=tuple(leaf_of(state) for state in trace.layers),
            input_embeddings=leaf_of(trace.input_embeddings),
            encoder_output=leaf_of(trace.encoder_output),
            decoder_output=leaf_of(trace.decoder_output),
        )

        self._versions = self._counted_changes()

    def untouched(self) -> bool:
        """Say whether the states are as the network left them: no loss has written into one in place."""
        return self._counted_changes() == self._versions

    def _counted_changes(self) -> list[int]:
        # A detached leaf shares its state's storage, and torch counts the changes of both together.
        return [state._version for state in self.states]

    def backward(self, label: str, loss: Tensor) -> None:
        """Differentiate one loss down to the leaves, and keep what arrives there under a label."""
        if not loss.requires_grad:
            return
        torch.autograd.backward(loss)
        own = self.gradients.setdefault(label, {})
        for place, leaf in enumerate(self.leaves):
            if leaf.grad is not None:
                own[place] = own[place] + leaf.grad if place in own else leaf.grad
                leaf.grad = None

    def finish(self, *, watch: bool = False) -> None:
        """Send the sum of all gradients through the network; `watch` also keeps what arrives where objectives read."""
        total: Gradients = {}
        for gradients in self.gradients.values():
            for place, gradient in gradients.items():
                total[place] = total[place] + gradient if place in total else gradient
        if watch:
            for place in total:
                self.states[place].register_hook(self._keep(place))  # type: ignore[no-untyped-call]
        if total:
            torch.autograd.backward([self.states[place] for place in total], list(total.values()))

    def shares(self, label: str) -> dict[str, Tensor]:
        """Return one label's part of the gradient where its loss reads the network; nothing where it reads none.

        `gradient_share` is ‖g‖ / (‖g‖ + ‖r‖) and `gradient_cosine` the cosine between g and r: g is this loss's
        gradient with respect to the states that it reads, r what reaches these states from all other losses, through
        the layers above them too.
        """
        own = self.gradients.get(label, {})
        places = [place for place in own if place in self._arriving]
        if not places:
            return {}
        mine = torch.cat([own[place].flatten() for place in places]).double()
        rest = torch.cat([self._arriving[place].flatten() for place in places]).double() - mine
        sizes, tiny = (mine.norm(), rest.norm()), torch.finfo(torch.float64).tiny
        return {
            "gradient_share": sizes[0] / (sizes[0] + sizes[1]).clamp_min(tiny),
            "gradient_cosine": mine.dot(rest) / (sizes[0] * sizes[1]).clamp_min(tiny),
        }

    def _keep(self, place: int) -> Callable[[Tensor], None]:
        def keep(gradient: Tensor) -> None:
            self._arriving[place] = gradient

        return keep
