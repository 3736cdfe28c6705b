"""What a node does for a trial, what the driver makes of a lost one, and what is refused before Ray is asked."""

from __future__ import annotations

import fcntl
import signal
import socket
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ablations.attempts import Attempt, Ending, read_history, record_end, record_start
from ablations.executors import ray_tasks
from ablations.executors.ray_cluster import Seen, _own_signal_handler, answer_probe, check_probe, connected
from ablations.executors.ray_tasks import RayExecutor, RayOptions, Task, attempt_on_node, conclude_lost
from ablations.executors.shared import shared_plugins
from ablations.running import prepare_study
from ablations.stored import trial_folder
from ablations.trial_process import Conclusion, Limits
from ablations.trial_queue import TrialQueue
from deepsight.errors import UserError
from deepsight.training.lock import locked
from deepsight.validation import validated
from tests.ablations.quick import plan_quickly
from tests.ablations.studies import Record, planned, study_data, write_study
from tests.runs import write_text


def test_a_node_makes_one_attempt_and_says_how_it_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan_quickly(monkeypatch)
    study = write_study(tmp_path / "study.yaml", study_data(write_text(tmp_path / "text", documents=8), seeds=1))
    plan = planned(study)
    folder = tmp_path / "out"
    prepare_study(plan, study, folder)
    queue = TrialQueue(folder, Record(), RayExecutor(folder, (), Record()).rules)
    done, stopped, unseen = (
        Task(trial, trial_folder(folder, trial.id), (), "driver", Limits(), folder / ".stop")
        for trial in (*plan.trials, plan.trials[0])
    )
    assert queue.configured(done.trial)
    assert queue.configured(stopped.trial)
    assert attempt_on_node(done) == Conclusion(Ending.DONE)
    stopped.flag.touch()
    assert attempt_on_node(stopped) == Conclusion(Ending.STOPPED)
    assert read_history(stopped.folder).attempts == ()
    monkeypatch.setattr(ray_tasks, "VISIBLE_SECONDS", 0.0)
    elsewhere = Task(**{**vars(unseen), "folder": tmp_path / "elsewhere" / "trial"})
    with pytest.raises(FileNotFoundError, match="does not see"):
        attempt_on_node(elsewhere)
    assert not (tmp_path / "elsewhere").exists()


def last(folder: Path) -> Attempt:
    found = read_history(folder).last
    assert found is not None
    return found


def test_an_attempt_without_an_answer_is_recorded_once(tmp_path: Path) -> None:
    before_it_began, while_it_ran = tmp_path / "a", tmp_path / "b"
    lost = conclude_lost("me", before_it_began, Ending.LOST, "NodeDiedError: gone", begun=False)
    assert lost.ending is Ending.LOST
    assert lost.message.startswith("NodeDiedError: gone (seen from ")
    assert (last(before_it_began).ending, last(before_it_began).driver) == (Ending.LOST, "me")
    # It counts: a task that never gets as far as an attempt is not tried for ever.
    for _ in range(2):
        assert read_history(before_it_began).may_run(retries=2)
        conclude_lost("me", before_it_began, Ending.LOST, "NodeDiedError: gone", begun=False)
    assert not read_history(before_it_began).may_run(retries=2)

    with locked(while_it_ran):
        record_start(while_it_ran, "me", None, process=1)
    conclude_lost("me", while_it_ran, Ending.OUT_OF_MEMORY, "too much", begun=True)
    assert [one.ending for one in read_history(while_it_ran).attempts] == [Ending.OUT_OF_MEMORY]


def test_what_an_attempt_left_itself_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    failed, done, held = tmp_path / "failed", tmp_path / "done", tmp_path / "held"
    with locked(failed):
        record_start(failed, "me", None)
        record_end(failed, Ending.DIVERGED, "not finite")
    assert conclude_lost("me", failed, Ending.LOST, "gone", begun=True) == Conclusion(Ending.DIVERGED, "not finite")
    done.mkdir()
    (done / "result.json").write_text('{"status": "done"}', encoding="utf-8")
    assert conclude_lost("me", done, Ending.LOST, "gone", begun=True) == Conclusion(Ending.DONE)
    monkeypatch.setattr(ray_tasks, "LOST_SECONDS", 0.3)
    with locked(held):
        assert conclude_lost("me", held, Ending.LOST, "gone", begun=True) == Conclusion(None)


def test_a_node_answers_whether_it_sees_the_file_and_its_lock(tmp_path: Path) -> None:
    question, answer = tmp_path / "question", tmp_path / "answer"
    assert answer_probe(question, answer, "token") == Seen(file=False, lock=False)
    question.write_text("token", encoding="utf-8")
    assert answer_probe(question, answer, "token") == Seen(file=True, lock=False)
    with question.open("rb") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        assert answer_probe(question, answer, "token") == Seen(file=True, lock=True)
    assert answer.read_text(encoding="utf-8") == "token"
    assert answer_probe(question, tmp_path / "other", "another") == Seen(file=False, lock=False)
    check_probe(tmp_path, "node", Seen(file=True, lock=True), answered=True)
    with pytest.raises(UserError, match=r"the node far does not see this folder.*storage that all nodes share"):
        check_probe(tmp_path, "far", Seen(file=True, lock=True), answered=False)
    with pytest.raises(UserError, match="the node far does not see the locks"):
        check_probe(tmp_path, "far", Seen(file=True, lock=False), answered=True)


@pytest.mark.parametrize(
    ("device", "options", "cluster", "given"),
    [
        ("auto", {}, {"GPU": 8.0}, 1.0),
        ("auto", {}, {}, 0.0),
        ("cpu", {}, {"GPU": 8.0}, 0.0),
        ("cpu", {"gpus_per_trial": 0.25}, {"GPU": 8.0}, 0.25),
        ("cuda", {"gpus_per_trial": 0}, {"GPU": 8.0}, 0.0),
    ],
)
def test_a_trial_is_given_a_gpu_where_it_may_use_one(
    tmp_path: Path, device: str, options: dict[str, Any], cluster: dict[str, float], given: float
) -> None:
    trial: Any = SimpleNamespace(config=SimpleNamespace(runtime=SimpleNamespace(device=device)))
    executor = RayExecutor(tmp_path, (), Record(), options=validated(RayOptions, options))
    assert executor._gpus(SimpleNamespace(cluster_resources=lambda: cluster), [trial]) == given


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ({"gpus_per_trail": 1}, "unknown key 'gpus_per_trail'; did you mean 'gpus_per_trial'"),
        ({"cpus_per_trial": 0}, "cpus_per_trial"),
        ({"most_at_once": "many"}, "most_at_once"),
    ],
)
def test_an_option_that_does_not_fit_is_one_sentence(written: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        validated(RayOptions, written)


def test_an_address_that_nobody_answers_at_is_refused_at_once() -> None:
    ray = pytest.importorskip("ray", reason="Ray is not installed")
    if ray.is_initialized():
        pytest.skip("a cluster is in use")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        with pytest.raises(UserError, match=r"^address: no Ray cluster answers at 127\.0\.0\.1:\d+$"):
            connected(f"127.0.0.1:{free.getsockname()[1]}")
    for address in ("ray://head:10001", "head", "head:"):
        with pytest.raises(UserError, match="is no address of a Ray cluster"):
            connected(address)


def test_without_ray_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UserError, match=r"Ray is not installed: pip install 'deepsight\[ray\]'"):
        connected(None)


def test_a_wish_to_stop_survives_the_start_of_ray() -> None:
    def wish(*_: Any) -> None:
        """Stand for the handler of the command line."""

    before = signal.signal(signal.SIGTERM, wish)
    try:
        with _own_signal_handler():
            signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
        assert signal.getsignal(signal.SIGTERM) is wish
    finally:
        signal.signal(signal.SIGTERM, before)


def test_nodes_load_the_copy_that_the_study_keeps(tmp_path: Path) -> None:
    plugin, other = tmp_path / "own.py", tmp_path / "other.py"
    kept = tmp_path / "out" / "plugins" / "own.py"
    kept.parent.mkdir(parents=True)
    for file in (plugin, other, kept):
        file.write_text("", encoding="utf-8")
    assert shared_plugins(tmp_path / "out", [plugin, other]) == (kept, other)
    kept.write_text("# something else", encoding="utf-8")
    assert shared_plugins(tmp_path / "out", [plugin]) == (plugin,)
