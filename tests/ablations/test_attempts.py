"""The record of attempts: what it says after every way to end, and what may run again."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ablations.attempts import (
    RUN_AGAIN,
    Ending,
    read_history,
    record_end,
    record_retry,
    record_start,
    result_of,
    status_of,
)
from deepsight.training.lock import is_locked, locked
from deepsight.training.names import ATTEMPTS_FILE, RESULT_FILE


def attempted(folder: Path, *endings: Ending | None, driver: str = "mine", micro: int | None = None) -> None:
    """Record attempts; None is one that the process did not live to end."""
    for ending in endings:
        record_start(folder, driver, micro)
        if ending is not None:
            record_end(folder, ending, "why")


def test_a_trial_without_attempts_may_run(tmp_path: Path) -> None:
    history = read_history(tmp_path)
    assert history.attempts == ()
    assert history.may_run()
    assert status_of(tmp_path) == "pending"


@pytest.mark.parametrize("ending", [Ending.CRASHED, Ending.DIVERGED, Ending.TIMED_OUT])
def test_what_would_repeat_itself_does_not_run_again(tmp_path: Path, ending: Ending) -> None:
    attempted(tmp_path, ending)
    assert not read_history(tmp_path).may_run()
    assert status_of(tmp_path) == "failed"
    record_retry(tmp_path)
    assert read_history(tmp_path).may_run()
    assert len(read_history(tmp_path).attempts) == 1
    assert status_of(tmp_path) == "pending"


@pytest.mark.parametrize("ending", RUN_AGAIN)
def test_what_may_go_well_another_time_runs_twice_again(tmp_path: Path, ending: Ending) -> None:
    for expected in (True, True, False):
        attempted(tmp_path, ending)
        assert read_history(tmp_path).may_run(retries=2) is expected
    assert read_history(tmp_path).may_run(retries=3)


def test_what_was_lost_with_its_driver_is_not_held_against_the_trial(tmp_path: Path) -> None:
    attempted(tmp_path, *[None] * 9, driver="killed")
    history = read_history(tmp_path)
    assert [one.ending for one in history.attempts] == [Ending.LOST] * 9
    assert history.may_run(retries=0)
    attempted(tmp_path, Ending.LOST)
    assert read_history(tmp_path).may_run(retries=1)
    assert not read_history(tmp_path).may_run(retries=0)


def test_one_that_was_stopped_goes_on(tmp_path: Path) -> None:
    attempted(tmp_path, Ending.STOPPED)
    assert read_history(tmp_path).may_run()
    assert status_of(tmp_path) == "pending"


def test_out_of_memory_halves_what_is_taken_at_once_down_to_one(tmp_path: Path) -> None:
    history = read_history(tmp_path)
    assert history.micro_batch_size(None, 12) is None
    seen = []
    for _ in range(4):
        micro = read_history(tmp_path).micro_batch_size(None, 12)
        seen.append(micro)
        attempted(tmp_path, Ending.OUT_OF_MEMORY, micro=micro)
    assert seen == [None, 6, 3, 1]
    assert not read_history(tmp_path).may_run(retries=99)


def test_an_attempt_runs_as_long_as_its_lock_is_held(tmp_path: Path) -> None:
    with locked(tmp_path):
        record_start(tmp_path, "mine", None)
        assert is_locked(tmp_path)
        assert status_of(tmp_path) == "running"
        assert read_history(tmp_path).attempts[-1].ending is None
    assert status_of(tmp_path) == "pending"
    assert read_history(tmp_path).attempts[-1].ending is Ending.LOST
    assert "ended without a word" in read_history(tmp_path).attempts[-1].message


@pytest.mark.parametrize("held", [False, True])
def test_an_attempt_that_left_a_result_is_done_also_where_it_did_not_live_to_say_so(tmp_path: Path, held: bool) -> None:
    attempted(tmp_path, Ending.STOPPED, None)
    (tmp_path / RESULT_FILE).write_text('{"status": "done"}')
    with locked(tmp_path) if held else contextlib.nullcontext():
        history = read_history(tmp_path)
        assert [one.ending for one in history.attempts] == [Ending.STOPPED, Ending.DONE]
        assert not history.attempts[-1].recorded
        assert status_of(tmp_path, history) == "done"


def test_a_torn_line_swallows_nothing(tmp_path: Path) -> None:
    attempted(tmp_path, Ending.STALLED)
    file = tmp_path / ATTEMPTS_FILE
    file.write_bytes(file.read_bytes() + b'{"event": "sta')
    attempted(tmp_path, Ending.CRASHED)
    assert [one.ending for one in read_history(tmp_path).attempts] == [Ending.STALLED, Ending.CRASHED]


@given(content=st.binary(max_size=200))
def test_any_content_can_be_read(content: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("any")
    (folder / ATTEMPTS_FILE).write_bytes(content)
    assert read_history(folder).may_run()


@given(
    st.lists(
        st.dictionaries(
            st.sampled_from(["event", "ending", "process", "driver"]),
            st.sampled_from(["started", "ended", "retry", "lost", "odd", 3, None, [1]]),
        ),
        max_size=6,
    )
)
def test_any_records_can_be_read(records: list[dict[str, object]]) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as name:
        text = "".join(json.dumps(record) + "\n" for record in records)
        (Path(name) / ATTEMPTS_FILE).write_text(text, encoding="utf-8")
        read_history(Path(name)).may_run()


@pytest.mark.parametrize("content", ["", "{", "[]", '"done"', '{"status": "running"}', "\0" * 40])
def test_a_damaged_result_is_none(tmp_path: Path, content: str) -> None:
    (tmp_path / RESULT_FILE).write_text(content, encoding="utf-8")
    assert result_of(tmp_path) is None
    assert status_of(tmp_path) == "pending"
