"""The places where a plug-in may step in, and how a plug-in file is loaded."""

from __future__ import annotations

import hashlib
import importlib.util
import sys
import traceback
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BeforeValidator

from deepsight.errors import UserError
from deepsight.registry import Registry, Spec

if TYPE_CHECKING:
    from torch import Tensor, nn

    from deepsight.architecture import Architecture
    from deepsight.data.corpora import Corpus

architectures: Registry[Architecture] = Registry("architecture", "architectures", supplied=("config", "vocabulary"))
objectives: Registry[nn.Module] = Registry("objective", "objectives", supplied=("shape",), reserved=("coefficient",))
aggregators: Registry[nn.Module] = Registry("aggregator", "aggregators", supplied=("n",))
merges: Registry[Callable[..., Tensor]] = Registry("merge", "merges", supplied=("present", "future", "n"))
distances: Registry[Callable[..., Tensor]] = Registry("distance", "distances", supplied=("prediction", "target"))
corpora: Registry[Corpus] = Registry("corpus", "corpora")

AggregatorSpec = Annotated[Spec | str, BeforeValidator(aggregators.resolve)]
MergeSpec = Annotated[Spec | str, BeforeValidator(merges.resolve)]
DistanceSpec = Annotated[Spec | str, BeforeValidator(distances.resolve)]
CorpusSpec = Annotated[Spec | str, BeforeValidator(corpora.resolve)]

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
        raise UserError(f"{_line_in(path, error)}: the plug-in fails: {type(error).__name__}: {error}") from None
    _loaded[path] = digest


def _line_in(path: Path, error: BaseException) -> str:
    frames: list[Any] = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
    return f"{path}:{frames[-1].lineno}" if frames else str(path)
