"""A study as people write it: a base run, factors or arms, seeds, and the arm that the others are compared with."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from deepsight.errors import UserError, suggestion
from deepsight.merging import with_dotted_keys
from deepsight.validation import Strict, validated
from deepsight.yaml_files import read_yaml

BUILT_IN = Path(__file__).with_name("studies")


def _seed_list(written: Any) -> Any:
    if isinstance(written, int) and not isinstance(written, bool):
        if written < 1:
            raise UserError(f"at least one seed is needed, not {written}")
        return list(range(written))
    if isinstance(written, list) and (len(set(map(str, written))) < len(written) or not written):
        raise UserError("the seeds must be different numbers, and at least one")
    return written


def _lines(written: Any) -> Any:
    return [written] if isinstance(written, str) else written


class Study(Strict):
    """A study file.

    Attributes:
        name: of the study; it must not change while its folder is used.
        title: the question, in one line.
        base: what every arm starts from: a preset and changes.
        factors: dotted key → values to sweep; each cell changes the base.
        arms: name → changes of the base; they stand beside the factors' cells.
        reference: the arm that the others are compared with.
        design: `grid` runs every combination of the factors; `one_at_a_time` varies each around the base;
            `leave_one_out` has every factor at its first value, and arms in which one factor has another.
        where: what every cell of the factors must fulfil, such as `model.layers.sum == 4` (`ablations/constraints.py`);
            the others are left out, and listed.
        seeds: a number (0, 1, …) or a list.
        equivalence_margin: δ in nats per token for the verdict "equivalent".

    """

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9 ._-]{0,79}$")
    title: str = ""
    base: dict[str, Any]
    factors: dict[str, Annotated[list[Any], Field(min_length=1)]] = {}
    arms: dict[str, dict[str, Any]] = {}
    reference: str | None = None
    design: Literal["grid", "one_at_a_time", "leave_one_out"] = "grid"
    where: Annotated[list[str], BeforeValidator(_lines)] = []
    seeds: Annotated[list[Annotated[int, Field(ge=0)]], BeforeValidator(_seed_list)] = [0, 1, 2, 3, 4]
    equivalence_margin: float = Field(default=0.01, gt=0)


def built_in_names() -> list[str]:
    """Return the names of the studies that come with the project."""
    return sorted(file.stem for file in BUILT_IN.glob("*.yaml"))


def study_file(source: str) -> Path:
    """Return the file of a study, given as a path or as a built-in name.

    Raises:
        UserError: there is neither.

    """
    if Path(source).is_file():
        return Path(source)
    if source in built_in_names():
        return BUILT_IN / f"{source}.yaml"
    if source.endswith((".yaml", ".yml")) or "/" in source:
        raise UserError(f"{source}: there is no such file")
    raise UserError(f"unknown study {source!r}{suggestion(source, built_in_names())}")


def read_study(file: Path) -> Study:
    """Read and check a study file; its runs are checked when they are planned.

    Raises:
        UserError: naming the file and the key.

    """
    written = read_yaml(file)
    try:
        if not isinstance(written, Mapping):
            raise UserError("a study is a mapping of keys to values")
        content = dict(written)
        if isinstance(content.get("factors"), Mapping):
            content["factors"] = with_dotted_keys(content["factors"])
        if isinstance(content.get("arms"), Mapping):
            content["arms"] = {str(name): {} if arm is None else arm for name, arm in content["arms"].items()}
        return validated(Study, content)
    except UserError as error:
        raise UserError(f"{file}: {error}") from None
