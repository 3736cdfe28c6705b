"""Every figure looks as it did; `tests/reports/pictures.py` says how that is measured.

After a change that is meant: `python -m tests.reports.pictures`, then look at what `git diff` shows of
`tests/reports/baseline`.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from pathlib import Path

import matplotlib as mpl
import pytest
from matplotlib.figure import Figure
from PIL import Image, ImageChops

from reports import figures
from reports.figures import catalogue
from tests.reports import pictures, synthetic
from tests.reports.drawings import drawn, text_problems


@functools.cache
def drawn_case(name: str) -> tuple[Figure, Image.Image]:
    figure = pictures.CASES[name].figure()
    return figure, pictures.rendered(figure)


@pytest.mark.parametrize("name", pictures.CASES)
def test_a_figure_looks_as_it_did(name: str, tmp_path: Path) -> None:
    _, picture = drawn_case(name)
    before = pictures.stored(name)
    count = pictures.unlike(picture, before.convert("RGB"))
    if count > pictures.MOST_UNLIKE:
        if drawn_with := pictures.other_freetype(before):
            pytest.skip(
                f"unlike the stored picture, which FreeType {drawn_with} drew; {pictures.freetype_version} here"
            )
        pictures.save(picture, tmp_path / "now.png")
        pytest.fail(
            f"{count} pixels of {tmp_path / 'now.png'} are unlike {pictures.FOLDER / name}.png; "
            "if that is meant: python -m tests.reports.pictures"
        )


@pytest.mark.parametrize("name", pictures.CASES)
def test_its_texts_can_be_read(name: str) -> None:
    assert text_problems(drawn_case(name)[0]) == []


def test_every_figure_has_a_picture() -> None:
    # Whatever returns a figure, in the package or only in the catalogue.
    found = [value for module in (figures, catalogue) for value in vars(module).values() if inspect.isfunction(value)]
    wanted = {function.__name__ for function in found if function.__annotations__.get("return") == "Figure | None"}
    assert wanted
    assert wanted - {case.draw.__name__ for case in pictures.CASES.values()} == set()
    assert {path.stem for path in pictures.FOLDER.glob("*")} == set(pictures.CASES)


def test_stored_pictures_are_small() -> None:
    assert sum(path.stat().st_size for path in pictures.FOLDER.glob("*")) < 2_000_000


CHANGES: dict[str, Callable[[Figure], object]] = {
    "another colour": lambda figure: bold(figure)[1].set_color("#2a8cc4"),
    "a bold line missing": lambda figure: bold(figure)[0].remove(),
    "a thin line missing": lambda figure: thin(figure)[0].remove(),
    "no band": lambda figure: figure.axes[0].collections[0].remove(),
    "no grid": lambda figure: figure.axes[0].yaxis.grid(False),
    "a legend moved": lambda figure: figure.legends[0].set_loc("outside lower right"),
    "a letter missing": lambda figure: figure.axes[0].set_xlabel("training token"),
}


def bold(figure: Figure) -> list[mpl.lines.Line2D]:
    return [line for line in figure.axes[0].lines if line.get_linewidth() > 1]


def thin(figure: Figure) -> list[mpl.lines.Line2D]:
    return [line for line in figure.axes[0].lines if line.get_linewidth() < 1]


@pytest.mark.parametrize("change", CHANGES)
def test_a_small_change_is_seen(change: str) -> None:
    figure = drawn(figures.final_curves(*synthetic.four_arms()))
    CHANGES[change](figure)
    assert pictures.unlike(pictures.rendered(figure), drawn_case("final_curves")[1]) > 5 * pictures.MOST_UNLIKE


def test_what_a_rasteriser_may_do_is_let_pass() -> None:
    picture = drawn_case("final_curves")[1]
    moved = ImageChops.offset(picture, 1)
    lighter = picture.point(lambda value: min(value + 10, 255))
    assert pictures.unlike(moved, picture) <= pictures.MOST_UNLIKE
    assert pictures.unlike(lighter, picture) == 0
