"""The places where a plug-in may step in, and how a plug-in file is loaded."""

from __future__ import annotations

import hashlib
import importlib.util
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BeforeValidator

from deepsight.errors import UserError, line_in
from deepsight.registry import Registry, Spec

if TYPE_CHECKING:
    from torch import Tensor, nn

    from deepsight.architecture import Architecture
    from deepsight.data.corpora import Corpus
    from deepsight.data.tasks.task import Task
    from deepsight.evaluation.probes.probe import Probe
    from deepsight.training.loggers import Logger

architectures: Registry[Architecture] = Registry("architecture", "architectures", supplied=("config", "vocabulary"))
objectives: Registry[nn.Module] = Registry(
    "objective", "objectives", supplied=("shape",), reserved=("coefficient", "attach")
)
targets: Registry[Any] = Registry("target", "targets", offered=("shape",))
aggregators: Registry[nn.Module] = Registry("aggregator", "aggregators", supplied=("n",), offered=("width", "shape"))
merges: Registry[Callable[..., Tensor]] = Registry("merge", "merges", supplied=("present", "future", "n"))
predictors: Registry[nn.Module] = Registry("predictor", "predictors", supplied=("width", "target_width"))
normalisers: Registry[nn.Module] = Registry("normaliser", "normalisers", offered=("width",))
distances: Registry[Callable[..., Tensor]] = Registry("distance", "distances", supplied=("prediction", "target"))
corpora: Registry[Corpus] = Registry("corpus", "corpora")
tasks: Registry[Task] = Registry("task", "tasks")
probes: Registry[Probe] = Registry("probe", "probes")
loggers: Registry[Logger] = Registry("logger", "loggers", supplied=("folder", "about"))

REGISTRIES: tuple[Registry[Any], ...] = (
    objectives,
    targets,
    aggregators,
    merges,
    predictors,
    normalisers,
    distances,
    architectures,
    corpora,
    tasks,
    probes,
    loggers,
)
"""Every kind of component, in the order in which people meet them."""

TargetSpec = Annotated[Spec | str, BeforeValidator(targets.resolve)]
AggregatorSpec = Annotated[Spec | str, BeforeValidator(aggregators.resolve)]
MergeSpec = Annotated[Spec | str, BeforeValidator(merges.resolve)]
PredictorSpec = Annotated[Spec | str, BeforeValidator(predictors.resolve)]
NormaliserSpec = Annotated[Spec | str, BeforeValidator(normalisers.resolve)]
DistanceSpec = Annotated[Spec | str, BeforeValidator(distances.resolve)]
CorpusSpec = Annotated[Spec | str, BeforeValidator(corpora.resolve)]
TaskSpec = Annotated[Spec | str, BeforeValidator(tasks.resolve)]
ProbeSpec = Annotated[Spec | str, BeforeValidator(probes.resolve)]
LoggerSpec = Annotated[Spec | str, BeforeValidator(loggers.resolve)]


def _short(spec: object) -> Spec | str:
    """Return an architecture without parameters as its name, one with parameters in its complete form."""
    resolved = architectures.resolve(spec)
    return str(resolved["name"]) if len(resolved) == 1 else resolved


ArchitectureSpec = Annotated[Spec | str, BeforeValidator(_short)]

_loaded: dict[Path, str] = {}


def load_plugins(files: Iterable[Path]) -> None:
    """Load Python files that register components; a file already loaded is left alone.

    Raises:
        UserError: a file is missing or fails while it is loaded; the message names file and line.

    """
    for file in files:
        _load(Path(file))


def loaded_plugins() -> dict[Path, str]:
    """Return the plug-in files loaded so far, each with the SHA-256 of its text."""
    return dict(_loaded)


def _load(file: Path) -> None:
    path = file.resolve()
    if path in _loaded:
        return
    if not path.is_file():
        raise UserError(f"{file}: there is no such plug-in file")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    name = f"deepsight_plugin_{path.stem}_{digest[:16]}"
    specification = importlib.util.spec_from_file_location(name, path)
    if specification is None or specification.loader is None:
        raise UserError(f"{file}: a plug-in is a Python file, with the ending .py")
    module = importlib.util.module_from_spec(specification)
    sys.modules[name] = module
    try:
        specification.loader.exec_module(module)
    except UserError:
        raise
    except SyntaxError as error:
        raise UserError(f"{error.filename}:{error.lineno}: the plug-in is not valid Python: {error.msg}") from None
    except Exception as error:  # noqa: BLE001 - a stranger's file may fail in any way
        place = line_in(str(path), error) or path
        raise UserError(f"{place}: the plug-in fails: {type(error).__name__}: {error}") from None
    _loaded[path] = digest
