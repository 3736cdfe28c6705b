"""`torchrun … -m deepsight train`: several processes, one run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from deepsight.training.metrics import read_metrics
from deepsight.training.names import CHECKPOINT_FILE, METRICS_FILE, PROVENANCE_FILE, RESULT_FILE, SHARDS_FILE
from tests.runs import run_data, write_text

pytestmark = pytest.mark.slow

KILLER = '''
"""One process of two dies in the middle of a run, once."""

import os
import signal
from pathlib import Path

from torch import nn

from objectives import objectives


@objectives.register("killer")
class Killer(nn.Module):
    """Kills the second process at its fifth step, unless that has happened."""

    def __init__(self, shape, mark: str = "") -> None:
        super().__init__()
        self.mark, self.calls = Path(mark), 0

    def forward(self, trace):
        self.calls += self.training
        if self.calls == 5 and os.environ.get("RANK") == "RANK_TO_KILL" and not self.mark.exists():
            self.mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return {"loss": trace.encoder_output.square().mean()}
'''


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_text(tmp_path_factory.mktemp("text"))


def train(processes: int, config: Path, out: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "deepsight", "train", str(config), "--out", str(out), *options]
    if processes > 1:
        launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
        command = [sys.executable, *launcher, *command[1:]]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


def test_a_run_of_two_processes_is_the_run_of_one(text: Path, tmp_path: Path) -> None:
    config = tmp_path / "run.yaml"
    config.write_text(yaml.safe_dump(run_data(text)))
    answers = [train(count, config, tmp_path / f"{count}") for count in (1, 2)]
    assert [answer.returncode for answer in answers] == [0, 0], answers[1].stderr
    # One process speaks.
    assert answers[1].stdout.count("validation loss") == answers[0].stdout.count("validation loss")
    results = [json.loads((tmp_path / f"{count}" / RESULT_FILE).read_text()) for count in (1, 2)]
    assert results[1]["validation_loss"] == pytest.approx(results[0]["validation_loss"], abs=1e-5)
    assert results[1]["batch_digest"] == results[0]["batch_digest"]
    assert results[1]["initial_digest"] == results[0]["initial_digest"]
    assert json.loads((tmp_path / "2" / PROVENANCE_FILE).read_text())["processes"] == 2
    again = train(2, config, tmp_path / "2")
    assert again.returncode == 0
    assert again.stdout.count("this run is finished") == 1


ENDING = """
import atexit, sys
from deepsight.cli.companions import ending_at_once

class Kept:
    def __del__(self):
        print("torn down")

kept = Kept()
atexit.register(print, "told at exit")
with ending_at_once():
    print("done")
    sys.exit({code!r})
"""


@pytest.mark.parametrize(("code", "expected"), [(None, 0), (3, 3)])
@pytest.mark.parametrize("processes", [1, 2])
def test_a_process_among_others_ends_before_it_is_torn_down(processes: int, code: object, expected: int) -> None:
    environment = os.environ | {"WORLD_SIZE": f"{processes}"}
    command = [sys.executable, "-c", ENDING.format(code=code)]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    torn = ["torn down"] if processes == 1 else []
    assert ended.stdout.split("\n") == ["done", "told at exit", *torn, ""]
    assert ended.returncode == expected


@pytest.mark.parametrize("rank", [0, 1])
@pytest.mark.parametrize("kind", ["replicated", "sharded"])
def test_a_killed_process_ends_the_run_in_one_sentence_and_it_goes_on(
    text: Path, tmp_path: Path, kind: str, rank: int
) -> None:
    plugin = tmp_path / "killer.py"
    plugin.write_text(KILLER.replace("RANK_TO_KILL", str(rank)))
    config = tmp_path / "run.yaml"
    objective = {"name": "killer", "mark": str(tmp_path / "killed"), "coefficient": 0.1}
    data = run_data(text, runtime__checkpoint_every=3, runtime__parallel=kind)
    config.write_text(yaml.safe_dump({**data, "objective": objective}))
    folder = tmp_path / "run"
    killed = train(2, config, folder, "--plugin", str(plugin))
    assert killed.returncode != 0
    assert (tmp_path / "killed").exists()
    assert killed.stderr.count("another process of this run has ended") == 1
    assert "the same command goes on from the last checkpoint" in killed.stderr
    assert not (folder / RESULT_FILE).exists()
    assert (folder / (SHARDS_FILE if kind == "sharded" else CHECKPOINT_FILE)).is_file()
    assert train(2, config, folder, "--plugin", str(plugin)).returncode == 0
    undisturbed = tmp_path / "undisturbed"
    assert train(1, config, undisturbed, "--plugin", str(plugin)).returncode == 0
    found, expected = (
        [row["validation_loss"] for row in read_metrics(place / METRICS_FILE) if row["kind"] == "evaluation"]
        for place in (folder, undisturbed)
    )
    assert found == pytest.approx(expected, abs=1e-5)


def test_what_all_processes_find_wrong_is_said_once(text: Path, tmp_path: Path) -> None:
    config = tmp_path / "run.yaml"
    config.write_text(yaml.safe_dump(run_data(text, training__batch_size=5)))
    answer = train(2, config, tmp_path / "run")
    assert answer.returncode != 0
    assert answer.stderr.count("a batch of 5 sequences cannot be divided among 2 processes; nearest: 4 or 6") == 1
    assert not (tmp_path / "run" / METRICS_FILE).exists()
