"""The arms of two studies: those that both have, side by side, and those that only one has."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pandas as pd

from reports import numbers
from reports.beside.sides import Side, shared_arms, shared_trials
from reports.comparisons import Comparison, decimals
from reports.statistics import Verdict
from reports.table import Cell, Column, Table, count_cell
from reports.wording import counted

NO_VERDICT = (Verdict.EXPLORATORY, Verdict.VALUES_ONLY)
"""What is said where pairs are too few for a verdict."""
FIELDS = (
    "inference_parameters",
    "seeds_done",
    "validation_loss_mean",
    "validation_loss_half_width",
    "pairs",
    "difference_mean",
    "difference_low",
    "difference_high",
    "p_holm",
    "verdict",
)
"""Columns of the main tables' data that are repeated here, with the study's letter."""


def arms_in_both(a: Side, b: Side) -> Table | None:
    """Return what each study says of the arms that both have by name; None where there are none."""
    names = shared_arms(a, b)
    if not names:
        return None
    facts = [_facts(side, names) for side in (a, b)]
    places = _places((a, b))
    one_size = all(a.arms[name].inference_parameters == b.arms[name].inference_parameters for name in names)
    shared = {name: shared_trials(a.arms[name], b.arms[name]) for name in names}
    sizes = [Column("inference parameters", numeric=True)] if one_size else _both("inference parameters", (a, b))
    columns = [
        Column("arm"),
        *sizes,
        *_both("validation loss", (a, b)),
        *(Column(f"{side.letter}: {_difference_title(side)}", numeric=True) for side in (a, b)),
        *_both("verdict", (a, b), numeric=False),
        Column("agreement"),
        *([Column("same runs")] if any(shared.values()) else []),
    ]
    rows = []
    for name in names:
        cells = [_cells(side, name, one, places) for side, one in zip((a, b), facts, strict=True)]
        by_quantity = [cell for pair in zip(*cells, strict=True) for cell in pair]
        runs = f"{shared[name]} of {counted(len(a.arms[name].trials), 'trial')}" if shared[name] else numbers.MISSING
        rows.append(
            (
                Cell(name),
                *by_quantity[1 if one_size else 0 :],
                Cell(_agreement(a, b, name)),
                *([Cell(runs)] if any(shared.values()) else []),
            )
        )
    return Table(
        name="arms_in_both",
        caption="The arms that both studies have by name: what each study says of them.",
        columns=tuple(columns),
        rows=tuple(rows),
        notes=NOTES,
        data=_data(a, b, facts, shared),
    )


NOTES = (
    "± is half of the 95 % t interval over seeds; a difference is to the reference of the arm's own study, negative is "
    "better, with the 95 % t interval for one comparison.",
)


def arms_only_in(side: Side, other: Side) -> Table | None:
    """Return what a study says of the arms that the other one does not have; None where there are none."""
    names = [name for name in side.arms if name not in other.arms]
    if not names:
        return None
    facts, places = _facts(side, names), _places((side,))
    titles = ("inference parameters", "validation loss", _difference_title(side))
    return Table(
        name=f"arms_only_in_{side.letter.lower()}",
        caption=f"The arms that only {side.letter} has.",
        columns=(Column("arm"), *(Column(title, numeric=True) for title in titles), Column("verdict")),
        rows=tuple((Cell(name), *_cells(side, name, facts, places)) for name in names),
        notes=(),
        data=facts[list(FIELDS)].reset_index(),
    )


def agreement(left: Comparison, right: Comparison) -> str:
    """Say in words how what studies A and B say of one arm goes together; it is no test."""
    sides = {"A": left, "B": right}
    missing = [letter for letter, one in sides.items() if not one.pairs.count]
    if missing:
        return f"no pair in {_where(missing)}"
    signs = _signs(left.mean, right.mean)
    few = [letter for letter, one in sides.items() if one.verdict in NO_VERDICT]
    if few:
        return f"no verdict in {_where(few)}, {signs}"
    if left.verdict == right.verdict:
        return f"undecided in both, {signs}" if left.verdict is Verdict.UNDECIDED else "same verdict"
    if {left.verdict, right.verdict} == {Verdict.BETTER, Verdict.WORSE}:
        return "opposite verdicts"
    decided = [letter for letter, one in sides.items() if one.verdict is not Verdict.UNDECIDED]
    said = f"decided in {decided[0]} only" if len(decided) == 1 else "different verdicts"
    return f"{said}, {signs}"


def _where(letters: Sequence[str]) -> str:
    return letters[0] if len(letters) == 1 else "either"


def _signs(left: float, right: float) -> str:
    if left == 0 or right == 0:
        return f"no difference in {_where([letter for letter, mean in (('A', left), ('B', right)) if mean == 0])}"
    return "same sign" if math.copysign(1, left) == math.copysign(1, right) else "opposite sign"


def _agreement(a: Side, b: Side, name: str) -> str:
    left, right = a.comparisons.get(name), b.comparisons.get(name)
    if left is None or right is None or left.control or right.control:
        return numbers.MISSING
    return agreement(left, right) if left.pairs.reference == right.pairs.reference else "other references"


def _facts(side: Side, names: Sequence[str]) -> pd.DataFrame:
    """Return the main table's data of some arms, indexed by name."""
    return side.main.data.set_index("arm").loc[list(names)]


def _places(sides: Sequence[Side]) -> tuple[int, int]:
    """Return the decimals of losses and of differences, the same for all sides."""
    halves = [half for side in sides for half in side.main.data["validation_loss_half_width"].astype(float)]
    return numbers.shared_decimals(halves), decimals(one for side in sides for one in side.comparisons.values())


def _cells(side: Side, name: str, facts: pd.DataFrame, places: tuple[int, int]) -> list[Cell]:
    """Return the cells of one arm in one study: parameters, loss, difference, verdict."""
    loss, half = (float(facts[f"validation_loss_{part}"][name]) for part in ("mean", "half_width"))
    comparison = side.comparisons.get(name)
    if comparison is None:
        verdict = Cell(str(facts["verdict"][name]), kind="reference")
        difference = Cell(numbers.MISSING, key=0.0 if facts["is_reference"][name] else math.nan)
    else:
        mean, low, high = comparison.mean, comparison.low, comparison.high
        difference = Cell(numbers.difference(mean, low, high, places[1]), key=mean)
        said = str(comparison.verdict)
        verdict = Cell(f"control: {said}", kind="control") if comparison.control else Cell(said, kind=said)
    return [
        count_cell(side.arms[name].inference_parameters),
        Cell(numbers.with_half_width(loss, half, places[0]), key=loss),
        difference,
        verdict,
    ]


def _difference_title(side: Side) -> str:
    paired = all(comparison.pairs.proven for comparison in side.comparisons.values())
    return f"{'paired difference' if paired else 'difference by seed'} [95 % interval]"


def _both(title: str, sides: tuple[Side, Side], *, numeric: bool = True) -> list[Column]:
    return [Column(f"{side.letter}: {title}", numeric=numeric) for side in sides]


def _data(a: Side, b: Side, facts: Sequence[pd.DataFrame], shared: dict[str, int]) -> pd.DataFrame:
    left, right = (one[list(FIELDS)] for one in facts)
    both = left.add_suffix("_a").join(right.add_suffix("_b"))
    both["trials_shared"] = pd.Series(shared)
    both["agreement"] = [_agreement(a, b, str(name)) for name in both.index]
    return both.reset_index()
