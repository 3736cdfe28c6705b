"""Bars on the terminal."""

from io import StringIO

import pytest
from rich.console import Console

from deepsight.data import progress
from deepsight.data.progress import late_bar


def said(terminal: bool) -> str:
    shown = StringIO()
    with late_bar("doing things", 3, Console(file=shown, force_terminal=terminal, width=120)) as show:
        for done in (1, 2, 3):
            show(done)
    return shown.getvalue()


def test_a_bar_is_shown_once_it_takes_long_on_a_terminal_only(monkeypatch: pytest.MonkeyPatch) -> None:
    assert said(terminal=True) == ""
    monkeypatch.setattr(progress, "PATIENCE", 0.0)
    assert said(terminal=False) == ""
    shown = said(terminal=True)
    assert "doing things" in shown
    assert "3/3" in shown


def test_a_bar_ends_with_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "PATIENCE", 0.0)
    console = Console(file=StringIO(), force_terminal=True)

    def fail() -> None:
        with late_bar("doing things", 3, console) as show:
            show(1)
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    # A second live display on one console is refused while the first one lives.
    with late_bar("doing things", 3, console) as show:
        show(1)
