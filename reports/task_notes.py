"""What a reader of the planning table must know: what each column is, and what few seeds in two heaps can say."""

from __future__ import annotations

from collections.abc import Iterator

from reports import numbers
from reports.references import notes_on_tasks
from reports.statistics import EXPLORATORY_PAIRS, LEVEL, SIGN_FLIP_PAIRS
from reports.success import smallest_p
from reports.task_results import SOLVED, task_title
from reports.task_study import TaskStudy
from reports.wording import counted, listed

SOLVED_SHARE = f"{100 * SOLVED:g} %"


def task_notes(found: TaskStudy) -> Iterator[str]:
    """Yield the sentences below the table."""
    yield from _measures(found)
    yield (
        f"A seed has solved it that ends at {SOLVED_SHARE} or more; the interval of how many do is Wilson's score "
        "interval (1927; 95 %, from three seeds on). Steps until solved are those after which the accuracy is never "
        "below that again, the median over the seeds that solved it."
    )
    yield (
        "At planning tasks seeds often fall into two heaps, those that find the answer and those that do not: "
        "published path-star runs lie between 18 % and 99.9 % by the seed alone. How many seeds solved it says more "
        "than a mean, whose t interval takes them for one heap and is too narrow where all that were run lie in one."
    )
    if found.differences:
        yield from _differences(found)
    yield from notes_on_tasks(found.study)
    if found.gap_task is not None:
        yield (
            f"The gap to teacher forcing is {task_title(found.gap_task)} with the right answer so far shown, less that "
            "without, in percentage points, mean over seeds. Wide is the Clever-Hans failure (Bachmann & Nagarajan, "
            "2024): the model copies from the answer that it is shown, and has not learned to plan."
        )


def _measures(found: TaskStudy) -> Iterator[str]:
    """Say what the numbers are, and which have no column."""
    words = task_title(found.main)
    chance = " Chance is what guessing gets, worked out from the task." if found.has_chance else ""
    others = " Other shares are means of the same evaluations." if found.others else ""
    yield (
        f"{words[:1].upper()}{words[1:]} is the share that is right at the end of training, in %, the mean over the "
        f"seeds that have finished; ± is half of its 95 % t interval.{chance}{others}"
    )
    left = len(found.tasks) - 1 - len(found.others)
    values = len(found.values) - len(found.shown_values)
    more = [counted(left, "more share") if left else "", counted(values, "number that is no share",
            "numbers that are no shares") if values else ""]  # fmt: skip
    if any(more):
        yield f"The CSV has {listed([text for text in more if text])}."


def _differences(found: TaskStudy) -> Iterator[str]:
    """Say what the comparison with the reference is, and why it has a p value or none."""
    word = "Paired differences" if found.paired else "Differences by seed"
    yield f"{word} are arm minus reference, in percentage points, so positive is better."
    if found.pairs < EXPLORATORY_PAIRS:
        return
    yield (
        "Their intervals are t intervals for one comparison each. With 5 pairs in two heaps these miss a true "
        "difference in 11 % of studies where 80 % of the seeds of one side and 20 % of the other solve the task, and "
        "in 35 % where 90 % and 10 % do; one of zero, at equal rates, in 3 % or fewer."
    )
    if found.has_p:
        yield _p_note(found)
    else:
        yield (
            f"There is no p value. That of the exact test of who solved it (McNemar, 1947) is never below "
            f"{numbers.significant(100 * smallest_p(found.pairs))} % with {counted(found.pairs, 'pair')}, so at 5 % it "
            f"needs {SIGN_FLIP_PAIRS} or more; that of a t test takes two heaps for one, and may be as small as the "
            "noise within a heap. Look instead at whether an arm's interval of how many solve it overlaps that of the "
            "reference."
        )


def _p_note(found: TaskStudy) -> str:
    pairs, family = found.pairs, found.family
    least = min(1.0, family * smallest_p(pairs))
    over = f"; p (Holm) is adjusted over the family of {family} comparisons" if family > 1 else ""
    enough = "" if least <= LEVEL else f", so at {100 * LEVEL:g} % this test can tell no arm from the reference"
    return (
        "p (exact) is two-sided, of the pairs in which one side alone solved the task (McNemar, 1947)"
        f"{over}. With {counted(pairs, 'pair')} the smallest possible is "
        f"{numbers.p_value(least)}{enough}."
    )
