"""The document has what the command prints."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.scaling import held, run_of, sent, tables
from deepsight.counting import cost_of


@pytest.mark.slow
def test_the_tables_of_the_document_are_those_of_the_command() -> None:
    text = (Path(__file__).parents[2] / "docs" / "scaling.md").read_text(encoding="utf-8")
    assert text.rpartition("---\n\n")[2].strip() == "\n".join(tables()).strip()


def test_what_is_held_and_sent_by_hand() -> None:
    cost = cost_of(run_of({"width": 16, "layers": [2, 2], "heads": 2, "context": 16}))
    assert held(cost, 1, 4) == 16 * cost.total
    assert held(cost, 8, 4) == 2 * cost.total + 2 * 4 * cost.inference / 4
    assert sent(cost, 1, sharded=True) == 0
    assert sent(cost, 4, sharded=False) == 2 * 4 * cost.total * 3 / 4
    assert sent(cost, 4, sharded=True) == 3 * 4 * cost.total * 3 / 4
