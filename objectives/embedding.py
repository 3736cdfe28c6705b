"""The sibling's embedding loss: the encoder output is pulled towards a summary of what was read, not of what comes."""

from __future__ import annotations

from typing import Literal

from jaxtyping import Float
from torch import Tensor, nn

from deepsight.plug_ins import DistanceSpec, distances, objectives
from deepsight.trace import Shape, Trace
from objectives.comparing import Comparing, optional_norm
from objectives.present import present_context

Vectors = Float[Tensor, "batch rows width"]


@objectives.register(
    "embedding",
    formula="distance(norm(H_i), norm(mean E_1…E_i))",
    source="the original autoregressive encoder-decoder (2024)",
)
class EmbeddingLoss(Comparing):
    """Distance between the encoder output at i and the mean of the input embeddings of x₁ … x_i.

    It looks at no later token: beside the future loss it shows what looking ahead brings. All positions count. With
    gains on both norms, as published, it collapses like the future loss; with ``norm_affine: false`` it cannot.

    Published are both norms (the parameter count holds them), the distances `mse` and `cosine`, and the coefficients 1
    and, with positions subtracted, 8. Whether the target's norm stood before or after the mean, and which side was
    detached, was not published: the defaults are what the future loss does.

    Args:
        shape: of the model.
        norm: of the target: on the embeddings, `before` their mean; on the mean, `after` it; or `none`.
        prediction_norm: whether the prediction passes a norm.
        norm_affine: whether the norms have a trainable gain and bias.
        detach: the side through which no gradient reaches the network: `target`, `prediction`, or `none`. It is
            detached before its norm, which learns all the same. Through the target, the loss at i reaches all of
            x₁ … x_i, in myopic training (`training.myopic`) too.
        distance: between prediction and target.

    """

    def __init__(
        self,
        shape: Shape,
        norm: Literal["none", "before", "after"] = "after",
        prediction_norm: bool = True,
        norm_affine: bool = True,
        detach: Literal["none", "target", "prediction"] = "target",
        distance: DistanceSpec = "mse",
    ) -> None:
        super().__init__()
        self.detach = detach
        self.norm_first = norm == "before"
        self.distance = distances.build(distance)
        self.encoder_norm = optional_norm(prediction_norm, shape.width, norm_affine)
        self.target_norm = optional_norm(norm != "none", shape.width, norm_affine)

    def prediction_norms(self) -> list[nn.Module]:
        """Return the norm of the state."""
        return [self.encoder_norm]

    def target_norms(self) -> list[nn.Module]:
        """Return the norm of the embeddings or of their mean."""
        return [self.target_norm]

    def sides(self, trace: Trace) -> tuple[Vectors, Vectors]:
        """Return prediction and target, one row for each position."""
        state, embeddings = trace.attached, trace.input_embeddings
        if self.detach == "prediction":
            state = state.detach()
        if self.detach == "target":
            embeddings = embeddings.detach()
        if self.norm_first:
            target = present_context(self.target_norm(embeddings))
        else:
            target = self.target_norm(present_context(embeddings))
        return self.encoder_norm(state), target
