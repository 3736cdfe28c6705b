"""How what a run learns from is printed: a planning task with some sequences and its measures, or a corpus."""

from __future__ import annotations

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from deepsight.data.packed import PackedCorpus
from deepsight.data.publishing import frequent_tokens, look
from deepsight.data.splits import SPLITS
from deepsight.data.tasks.sequences import drawn
from deepsight.data.tasks.solver import Solver
from deepsight.data.tasks.task import Task
from deepsight.errors import UserError
from deepsight.plug_ins import tasks
from deepsight.registry import Spec

MEASURED = 256
"""Held-out sequences from which the solver's measures and chances are taken."""


def print_tasks() -> None:
    """Print the name of every task, with the first sentence of what it says of itself."""
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(style="cyan", no_wrap=True)
    table.add_column(overflow="fold")
    for name in tasks.names():
        try:
            table.add_row(name, Text(tasks[name].summary))
        except UserError as error:
            table.add_row(name, Text(str(error), style="red"))
    Console(highlight=False).print(table)


def print_task(spec: Spec, count: int, seed: int) -> None:
    """Print one task.

    Args:
        spec: of the task, as written.
        count: sequences to print.
        seed: that they are drawn with.

    Raises:
        UserError: there is no such task, or its parameters do not go together.

    """
    complete = tasks.resolve(spec)
    task = tasks.build(complete)
    sequences = drawn(task, count, seed, "shown")
    console = Console(highlight=False)
    name, component = complete["name"], tasks[complete["name"]]
    console.print(Text.assemble((name, "bold"), f" · {component.summary}"), soft_wrap=True)
    parameters = ", ".join(f"{key}={value}" for key, value in complete.items() if key != "name")
    kept = "drawn anew for every batch" if task.training_set is None else f"{task.training_set:,}, always the same"
    facts = {
        "parameters": parameters or "none",
        "tokens": f"{task.length} a sequence, {len(task.words)} different ones",
        "trained on": f"{kept}; {task.held_out_told} held out, and measured",
        "source": component.source or "not given",
    }
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for fact, value in facts.items():
        table.add_row(fact, Text(value))
    console.print(table)
    scored = task.scored(sequences)
    for sequence, answer in zip(sequences, scored, strict=True):
        console.print()
        console.print(Text(task.rendered(sequence)), soft_wrap=True)
        console.print(_words(task, sequence.tolist(), answer.tolist()), soft_wrap=True)
    console.print(Text("\nThe tokens in [brackets] are the answer: only they count in a loss.\n", style="dim"))
    console.print(_measures(task, seed))


def print_corpus(corpus: PackedCorpus) -> None:
    """Print how much there is of a packed corpus, and what it looks like."""
    console = Console(highlight=False)
    console.print(Text(corpus.describe()), soft_wrap=True)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("split", style="cyan")
    headings = ("documents", "bytes", "tokens", "bytes a token", "tokens of a document: shortest, quartiles, longest")
    for heading in headings:
        table.add_column(heading, justify="right", overflow="fold")
    for split in SPLITS:
        found = look(corpus, split)
        lengths = ", ".join(f"{length:,}" for length in found.lengths)
        each = f"{found.bytes / found.tokens:.2f}"
        table.add_row(split, f"{found.documents:,}", f"{found.bytes:,}", f"{found.tokens:,}", each, lengths)
    console.print(table)
    frequent, different = frequent_tokens(corpus)
    console.print(f"{different:,} of {corpus.vocabulary:,} tokens stand in the training split; the most frequent ones:")
    console.print(Text("  ".join(f"{text!r} {share:.1%}" for text, share in frequent)), soft_wrap=True)
    console.print(Text(f"{corpus.folder}, SHA-256 {corpus.digest}", style="dim"), soft_wrap=True)


def _words(task: Task, sequence: list[int], answer: list[bool]) -> Text:
    """Return the tokens, the answer's in brackets and in bold."""
    text = Text("  ", style="dim")
    for place, (token, counts) in enumerate(zip(sequence, answer, strict=True)):
        text.append(" " if place else "")
        text.append(f"[{task.words[token]}]" if counts else task.words[token], "bold not dim" if counts else "")
    return text


def _measures(task: Task, seed: int) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    table.add_column("measured", style="cyan", no_wrap=True)
    table.add_column("chance", justify="right")
    table.add_column("a solver that knows the rules", justify="right")
    examples = drawn(task, MEASURED, seed, "held out", held_out=True)
    for name, measure in task.measure(Solver(task, seed), examples).items():
        style = ".1%" if measure.share else ".3g"
        chance = "" if measure.chance is None else f"{measure.chance:{style}}"
        table.add_row(name.replace("_", " "), chance, f"{measure.value:{style}}")
    return table
