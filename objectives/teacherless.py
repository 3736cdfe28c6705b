"""Teacherless training: the answer is predicted without being shown any of it."""

from __future__ import annotations

from typing import Annotated, ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Int
from pydantic import Field
from torch import Tensor

from deepsight.errors import UserError
from deepsight.objective import Objective
from deepsight.plug_ins import objectives
from deepsight.trace import IGNORED, Place, Shape, Trace
from objectives.token_loss import token_loss

Tokens = Int[Tensor, "batch time"]


@objectives.register(
    "teacherless",
    formula="-log P(x_{t+1} | prompt, dummies) over the answer",
    source="Bachmann & Nagarajan (2024), arXiv 2403.06963",
)
class Teacherless(Objective):
    """Cross-entropy of the answer when every token of the answer is replaced by one dummy token in the input.

    The network runs once more, on the masked input. Beside the ordinary, teacher-forced loss this is the hybrid
    objective; a coefficient of 1 weighs the two equally.

    What the answer is: in a sequence with a prompt (some targets do not count), the targets that count. In running
    text, where every target counts, the last part of each window; there, what comes after the end of the first
    document in this part does not count, since nothing shown tells of it.

    The vocabulary stays as it is: the dummy is a token that the network knows. By default it is the end of text, which
    never stands inside an answer; where a vocabulary has a token that the data does not use, that is the better one.

    Extra parameters: none. Extra FLOPs: as much again as the network's forward and backward pass.

    Args:
        shape: of the model.
        dummy: id of the token that stands for an unseen one; when not given the end of text, or 0 where the text has
            no documents.
        share: of each window of running text that is the answer; at least one position.

    Raises:
        UserError: the dummy is no token of the vocabulary.

    """

    attach: ClassVar[Place | None] = None

    def __init__(
        self,
        shape: Shape,
        dummy: Annotated[int, Field(ge=0)] | None = None,
        share: Annotated[float, Field(gt=0.0, le=1.0)] = 0.5,
    ) -> None:
        super().__init__()
        if dummy is not None and dummy >= shape.vocabulary:
            raise UserError(f"the last token of this vocabulary is {shape.vocabulary - 1}, not {dummy}", ("dummy",))
        self.dummy, self.share = dummy, share

    def forward(self, trace: Trace) -> dict[str, Tensor]:
        """Return the mean cross-entropy of the answers, in nats."""
        assert trace.network is not None, "a trace from a network is needed"
        answers, hidden = self.answers(trace.targets), self.hidden(trace.targets)
        masked = trace.network(trace.tokens.masked_fill(hidden, self._dummy(trace)), answers)
        answers = self._within_document(trace, masked.targets)
        return {"loss": token_loss(masked.decoder_output, trace.unembedding, answers)}

    def answers(self, targets: Tokens) -> Tokens:
        """Return the targets that belong to the answer, `IGNORED` elsewhere."""
        time = targets.shape[1]
        late = torch.arange(time, device=targets.device) >= time - max(1, round(self.share * time))
        return targets.masked_fill(self._is_text(targets) & ~late, IGNORED)

    def hidden(self, targets: Tokens) -> Tensor:
        """Return which input positions hold a token of the answer, (B, T); the first one never does."""
        return F.pad(self.answers(targets)[:, :-1] != IGNORED, (1, 0))

    def _is_text(self, targets: Tokens) -> Tensor:
        return (targets != IGNORED).all(dim=1, keepdim=True)

    def _dummy(self, trace: Trace) -> int:
        if self.dummy is not None:
            return self.dummy
        return 0 if trace.end_of_text is None else trace.end_of_text

    def _within_document(self, trace: Trace, answers: Tokens) -> Tokens:
        """Leave out what follows the first end of a document in the answer part of running text."""
        if trace.end_of_text is None:
            return answers
        ends = (answers == trace.end_of_text).long()
        return answers.masked_fill(self._is_text(trace.targets) & (ends.cumsum(dim=1) > ends), IGNORED)
