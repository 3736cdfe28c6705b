"""Trials as tasks of a real Ray cluster of two nodes on this machine, one of which is killed."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ablations.attempts import Ending, read_history
from ablations.executors import ray_cluster, ray_tasks
from ablations.executors.ray_cluster import Seen, check_room, probe_storage
from ablations.executors.ray_tasks import RayExecutor, RayOptions
from ablations.places import Places
from ablations.running import prepare_study, run_trials
from ablations.stored import trial_folder
from deepsight.errors import UserError
from deepsight.training.lock import is_locked
from tests.ablations.quick import plan_quickly
from tests.ablations.studies import Record, planned
from tests.ablations.test_running import wait_for
from tests.faults.trouble import check_no_leftovers, check_nothing_ran_twice, long_study, outcome
from tests.runs import write_text

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
ray = pytest.importorskip("ray", reason="Ray is not installed")
MEMORY = 100 * 2**20

PLUGIN = """
import os
print(f"devices {os.environ.get('CUDA_VISIBLE_DEVICES')!r}, plug-in {__file__}")
"""

DRIVER = """
import pickle
import sys
from pathlib import Path
from ablations.driver import Silent
from ablations.executors.ray_tasks import RayExecutor, RayOptions

folder, trials, address = sys.argv[1:]
executor = RayExecutor(Path(folder), (), Silent(), options=RayOptions(address=address))
executor.run(pickle.loads(Path(trials).read_bytes()))
"""


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    from ray.cluster_utils import Cluster

    # A dead node is noticed within seconds instead of half a minute.
    quick = {"health_check_initial_delay_ms": 0, "health_check_period_ms": 1000, "health_check_failure_threshold": 3}
    # Nothing here touches a GPU: Ray hands out what it is told there is.
    head = {"num_cpus": 1, "num_gpus": 1, "object_store_memory": MEMORY, "_system_config": quick}
    made: Any = Cluster(initialize_head=True, head_node_args=head)
    ray.init(address=made.address, log_to_driver=False)
    yield made
    ray.shutdown()
    made.shutdown()


def works_on(node: Any, folder: Path) -> bool:
    """Say whether a trial that has left a checkpoint runs on a node: its process descends from the node's."""
    last = read_history(folder).last
    if last is None or last.ending is not None or not (folder / "checkpoint.safetensors").is_file():
        return False
    raylet: int = node.all_processes["raylet"][0].process.pid
    process = last.process
    while process > 1 and process != raylet:
        # What follows the name, which may hold anything, in its brackets: the state and the parent.
        _, _, rest = Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rpartition(")")
        process = int(rest.split()[1])
    return process == raylet


@pytest.mark.slow
def test_a_killed_node_costs_time_and_nothing_else(
    cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan_quickly(monkeypatch)
    study = long_study(tmp_path, write_text(tmp_path / "text", documents=8), base__training__steps=150, seeds=1)
    plan = planned(study)
    node = cluster.add_node(num_cpus=1, object_store_memory=MEMORY)
    folder = tmp_path / "ray" / "out"
    prepare_study(plan, study, folder)
    record, without_answer = Record(), []
    concluded = ray_tasks.conclude_lost

    def noted(*arguments: Any, **named: Any) -> Any:
        without_answer.append(arguments)
        return concluded(*arguments, **named)

    def kill_once_it_works() -> None:
        if cluster.worker_nodes and any(works_on(node, trial_folder(folder, trial.id)) for trial in plan.trials):
            cluster.remove_node(node, allow_graceful=False)

    monkeypatch.setattr(ray_tasks, "conclude_lost", noted)
    record.on_wait = kill_once_it_works
    executor = RayExecutor(folder, (), record)
    assert executor.run(plan.trials)
    assert not cluster.worker_nodes
    assert record.failures == {}
    assert [kind for _, kind in record.repeated] == ["lost"]
    assert len(without_answer) == 1
    assert sorted(record.finished_trials) == sorted(trial.id for trial in plan.trials)
    check_nothing_ran_twice(folder, plan)
    check_no_leftovers(folder)
    prepare_study(plan, study, tmp_path / "local" / "out")
    run_trials(plan, tmp_path / "local" / "out", places=Places(2), plugins=[], watcher=Record())
    assert outcome(folder, plan) == outcome(tmp_path / "local" / "out", plan)


def test_asked_to_stop_the_running_trial_leaves_a_checkpoint_and_the_waiting_one_is_dropped(
    cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan_quickly(monkeypatch)
    study = long_study(tmp_path, write_text(tmp_path / "text", documents=8), base__training__steps=5000, seeds=1)
    plugin = tmp_path / "shown.py"
    plugin.write_text(PLUGIN, encoding="utf-8")
    plan = planned(study)
    folder = tmp_path / "out"
    prepare_study(plan, study, folder, [plugin])
    record = Record()
    executor = RayExecutor(folder, (plugin,), record, options=RayOptions(gpus_per_trial=0.5, most_at_once=2))
    assert not executor.run(plan.trials, stop=lambda: len(record.rows) > 3)
    assert executor.stopped == "asked"
    (begun,) = record.started_trials
    attempts = {trial.id: read_history(trial_folder(folder, trial.id)).attempts for trial in plan.trials}
    assert {trial: [one.ending for one in ended] for trial, ended in attempts.items()} == {
        trial.id: [Ending.STOPPED] if trial.id == begun else [] for trial in plan.trials
    }
    assert (trial_folder(folder, begun) / "checkpoint.safetensors").is_file()
    said = (trial_folder(folder, begun) / "log.txt").read_text(encoding="utf-8")
    assert f"devices '0', plug-in {folder / 'plugins' / 'shown.py'}" in said
    check_no_leftovers(folder)


@pytest.mark.slow
def test_a_trial_ends_with_its_driver(cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan_quickly(monkeypatch)
    study = long_study(tmp_path, write_text(tmp_path / "text", documents=8), base__training__steps=50_000, seeds=1)
    (trial, *_) = planned(study).trials
    folder = tmp_path / "out"
    (tmp_path / "trials.pkl").write_bytes(pickle.dumps([trial]))
    words = [sys.executable, "-c", DRIVER, str(folder), str(tmp_path / "trials.pkl"), cluster.address]
    driver = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        wait_for(lambda: (trial_folder(folder, trial.id) / "checkpoint.safetensors").is_file(), 120)
    finally:
        driver.kill()
        driver.communicate()
    wait_for(lambda: not is_locked(trial_folder(folder, trial.id)), 20)
    history = read_history(trial_folder(folder, trial.id))
    assert [(one.ending, one.recorded) for one in history.attempts] == [(Ending.LOST, False)]
    assert history.may_run(retries=0)


def test_a_node_that_does_not_see_the_folder_is_named(
    cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    probe_storage(ray, tmp_path)
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setattr(ray_cluster, "answer_probe", lambda *_: Seen(file=False, lock=False))
    with pytest.raises(UserError, match=r"the node \d+\.\d+\.\d+\.\d+ does not see this folder as this machine does"):
        probe_storage(ray, tmp_path)

    def fail(*_: Any) -> Seen:
        raise ModuleNotFoundError("No module named 'ablations'")

    monkeypatch.setattr(ray_cluster, "answer_probe", fail)
    with pytest.raises(UserError, match=r"cannot run trials: ModuleNotFoundError: No module named 'ablations'$"):
        probe_storage(ray, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_more_than_any_node_has_is_refused(cluster: Any) -> None:
    check_room(ray, 1, 0.25)
    with pytest.raises(UserError, match=r"4 CPUs and 0 GPUs, and no node of the Ray cluster has them \(1 CPUs, 1 GPUs"):
        check_room(ray, 4, 0)
