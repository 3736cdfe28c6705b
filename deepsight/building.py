"""From a configuration to modules: the network, and the objectives beside it."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from deepsight.architecture import Architecture, initialise
from deepsight.config import RunConfig
from deepsight.errors import UserError
from deepsight.plug_ins import architectures, objectives
from deepsight.random_streams import derive
from deepsight.trace import Shape, Trace


class Objectives(nn.Module):
    """The objectives of a run, by label: the objective's name, numbered from the second of a name on.

    Args:
        specs: complete components, each with its `coefficient`.
        shape: of the model.
        seed: of the run; each objective draws its initial weights from a stream of its own.

    """

    def __init__(self, specs: list[dict[str, object]], shape: Shape, seed: int) -> None:
        super().__init__()
        self.coefficients: dict[str, float] = {}
        self.parts = nn.ModuleDict()
        names = [str(spec["name"]) for spec in specs]
        for position, spec in enumerate(specs):
            label = self._label(names[position], names[:position].count(names[position]))
            parameters = {key: value for key, value in spec.items() if key != "coefficient"}
            try:
                with own_stream(seed, "construction", label):
                    part = objectives.build(parameters, shape=shape)
            except UserError as error:
                raise error.within("objective", position) from None
            initialise(part, seed, f"objective.{label}.")
            self.parts[label] = part
            self.coefficients[label] = float(str(spec["coefficient"]))

    def losses(self, trace: Trace, seed: int, *moment: int) -> dict[str, dict[str, Tensor]]:
        """Return what each objective says of a trace: label → {"loss": scalar, …metrics}.

        Args:
            trace: of the model's forward pass.
            seed: of the run.
            moment: step and micro-batch, from which each objective's own random numbers are drawn.

        Raises:
            UserError: an objective does not keep its contract.

        """
        found = {}
        for label, part in self.parts.items():
            torch.manual_seed(derive(seed, "objective", label, *moment))
            found[label] = _checked(label, part, part(trace))
        return found

    @torch.no_grad()
    def diagnostics(self, trace: Trace) -> dict[str, Tensor]:
        """Return the diagnostics of those objectives that have any, as ``label/metric``."""
        found = {}
        for label, part in self.parts.items():
            own = getattr(part, "diagnostics", None)
            found.update({f"{label}/{name}": value for name, value in (own(trace) if own else {}).items()})
        return found

    def _label(self, name: str, earlier: int) -> str:
        label = f"{name}_{earlier + 1}" if earlier else name
        # Another objective may really be called name_2.
        return self._label(name, earlier + 1) if label in self.parts else label


def build_model(config: RunConfig, device: torch.device | str = "cpu") -> Architecture:
    """Return the network of a run, with its initial weights (on `meta`: without any)."""
    with torch.device(device), own_stream(config.seed, "construction"):
        model = architectures.build(config.model.architecture, config=config.model, vocabulary=config.data.vocabulary)
    if torch.device(device).type != "meta":
        initialise(model, config.seed)
    return model


def build_objectives(config: RunConfig, shape: Shape, device: torch.device | str = "cpu") -> Objectives:
    """Return the objectives of a run, with their initial weights."""
    with torch.device(device):
        return Objectives(config.objective, shape, config.seed)


def check_buildable(config: RunConfig) -> None:
    """Build network and objectives without storage, so that what cannot be built is known before anything runs.

    Raises:
        UserError: with the path of what does not fit.

    """
    build_objectives(config, build_model(config, "meta").shape, "meta")


def weight_digests(*modules: nn.Module) -> dict[str, str]:
    """Return a SHA-256 for each parameter, by name; equal digests mean bit-equal weights of equal shape."""
    return {
        name: hashlib.sha256(f"{tuple(weight.shape)}{weight.dtype}".encode() + _bytes(weight)).hexdigest()
        for module in modules
        for name, weight in module.named_parameters()
    }


@contextlib.contextmanager
def own_stream(seed: int, *purpose: str | int) -> Iterator[None]:
    """Inside this block torch's global generator belongs to one purpose; afterwards it is as before."""
    with torch.random.fork_rng():
        torch.manual_seed(derive(seed, *purpose))
        yield


def _bytes(weight: Tensor) -> bytes:
    return weight.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes()


def _checked(label: str, part: nn.Module, said: object) -> dict[str, Tensor]:
    what = f"the objective {label!r} ({type(part).__module__}.{type(part).__qualname__})"
    if not isinstance(said, dict) or not isinstance(said.get("loss"), Tensor):
        raise UserError(f"{what} must return a dict with a tensor 'loss', not {type(said).__name__}")
    if said["loss"].ndim:
        raise UserError(f"{what} must return a scalar 'loss', not one of shape {tuple(said['loss'].shape)}")
    return said
