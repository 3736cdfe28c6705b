"""`deepsight bench`: this project beside what its users would otherwise run, as ratios."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console
    from rich.table import Table

    from benchmarks.measuring import Comparison
    from benchmarks.options import Options


def bench(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAME]...",
            help="What to measure, all by default: step, memory, generate, data, sweep, objectives, startup, "
            "products, profile, attention.",
        ),
    ] = None,
    shape: Annotated[list[str] | None, typer.Option(metavar="A|B", help="Of these sizes alone; repeatable.")] = None,
    repeats: Annotated[int, typer.Option(min=1, metavar="N", help="Rounds that count.")] = 11,
    threads: Annotated[int, typer.Option(min=1, metavar="N", help="Of torch.")] = 2,
    device: Annotated[str, typer.Option(metavar="cpu|cuda", help="Where.")] = "cpu",
    compiled: Annotated[
        bool, typer.Option("--compile/--no-compile", help="Whether compiled systems take part, which takes minutes.")
    ] = True,
    out: Annotated[Path, typer.Option(metavar="FILE.csv", help="Where the table is written.")] = Path("bench.csv"),
) -> None:
    """Measure this project beside what its users would otherwise run: all in turn, in one run, as ratios."""
    from rich.console import Console

    options, chosen = _options(names, shape, repeats, threads, device, compiled)
    import torch

    import benchmarks
    from benchmarks.measuring import write_csv
    from deepsight.errors import UserError
    from deepsight.machine import processor

    if out.is_dir():
        raise UserError(f"{out}: this is a folder; a file is needed for the table")
    torch.set_num_threads(threads)
    console = Console()
    where = torch.cuda.get_device_name(device) if device.startswith("cuda") else f"{processor()}, {threads} threads"
    console.print(f"{where}, torch {torch.__version__}, {repeats} repeats", highlight=False, soft_wrap=True)
    _say_what_is_missing(console)
    for one in options.shapes:
        console.print(one.described(), highlight=False, soft_wrap=True)
    found: list[Comparison] = []
    for name in chosen:
        with console.status(f"{name}: {benchmarks.BENCHMARKS[name]}"):
            lines = list(benchmarks.run(name, options))
        console.print(_table(f"{name}: {benchmarks.BENCHMARKS[name]}", lines))
        # After each one, since a run takes long.
        found += lines
        write_csv(found, out)
    short = [line for line in found if line.reached is False]
    if short:
        console.print(f"{len(short)} of {len(found)} lines are short of what was asked for.", highlight=False)
    console.print(f"{out}", highlight=False, soft_wrap=True)


def _options(
    names: Sequence[str] | None,
    shapes: Sequence[str] | None,
    repeats: int,
    threads: int,
    device: str,
    compiled: bool,
) -> tuple[Options, list[str]]:
    from deepsight.errors import UserError, suggestion

    try:
        import benchmarks
    except ModuleNotFoundError:
        raise UserError("the benchmarks are not installed; they are part of the project's repository") from None
    from benchmarks.options import Options
    from benchmarks.shapes import SHAPES
    from deepsight.training.device import chosen_device

    for name in names or ():
        if name not in benchmarks.BENCHMARKS:
            raise UserError(f"unknown benchmark {name!r}{suggestion(name, benchmarks.BENCHMARKS)}")
    for letter in shapes or ():
        if letter not in SHAPES:
            raise UserError(f"unknown shape {letter!r}{suggestion(letter, SHAPES)}")
    if device.partition(":")[0] not in ("cpu", "cuda"):
        raise UserError(f"unknown device {device!r}; known: cpu, cuda")
    chosen_device(device)
    sizes = tuple(SHAPES[letter] for letter in dict.fromkeys(shapes or SHAPES))
    chosen = list(dict.fromkeys(names or benchmarks.BENCHMARKS))
    return Options(sizes, repeats, threads, device, compiled), chosen


def _say_what_is_missing(console: Console) -> None:
    from benchmarks.options import NEEDS, missing

    gone = sorted({package for ending in NEEDS if (package := missing(ending)) is not None})
    if gone:
        said = " and ".join(gone)
        console.print(
            f'Without {said}, which pip install "deepsight[bench]" brings.',
            markup=False,
            highlight=False,
            soft_wrap=True,
        )


def _table(title: str, lines: Sequence[Comparison]) -> Table:
    from rich import box
    from rich.table import Table

    shown = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("", "what"):
        shown.add_column(heading)
    for heading in ("ours", "beside", "ratio", "quartiles", "asked"):
        shown.add_column(heading, justify="right", no_wrap=True)
    for line in lines:
        style = {True: "green", False: "red", None: ""}[line.reached]
        sign = "≥" if line.sense == "at least" else "≤"
        shown.add_row(
            line.shape,
            f"{line.what}: {line.ours} beside {line.peer}",
            _amount(line.value, line.unit),
            _amount(line.peer_value, line.unit),
            f"[{style}]{line.ratio:.3g}[/]" if style else f"{line.ratio:.3g}",
            f"{line.low:.3g}–{line.high:.3g}",
            "" if line.target is None else f"{sign} {line.target:g}",
        )
    return shown


def _amount(value: float, unit: str) -> str:
    if unit == "s" and value < 0.1:
        return f"{value * 1000:.3g} ms"
    return f"{value:,.0f} {unit}" if value >= 100 else f"{value:.3g} {unit}"
