"""A Ray cluster before a study runs on it: reached, large enough, and every node sees the study's folder."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import secrets
import signal
import socket
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deepsight.errors import UserError
from deepsight.files import TEMPORARY

ADDRESS_SECONDS = 5.0
PROBE_SECONDS = 180.0
"""How long a node may take to answer; it starts a process for that."""
OBJECT_STORE_BYTES = 100 * 2**20
"""Enough for a Ray of our own: trials read files, and nothing large passes through Ray."""
LONGEST_REASON = 200


@dataclass(frozen=True)
class Seen:
    """What a node sees of the study's folder: the file that the driver wrote there, and the lock that it holds."""

    file: bool
    lock: bool


def connected(address: str | None) -> Any:
    """Return the module `ray`, connected to a cluster; without an address to one started on this machine.

    Raises:
        UserError: Ray is not installed, or the cluster does not answer.

    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError:
        raise UserError("Ray is not installed: pip install 'deepsight[ray]'") from None
    if ray.is_initialized():
        return ray
    address = address or os.environ.get("RAY_ADDRESS") or None
    _check_address(address)
    own: dict[str, Any] = {"object_store_memory": OBJECT_STORE_BYTES} if address in (None, "local") else {}
    try:
        with _own_signal_handler():
            ray.init(address=address, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR, **own)
    except (OSError, ValueError, RuntimeError) as error:
        raise UserError(f"Ray cannot be used: {str(error).partition(chr(10))[0]}", ("address",)) from None
    return ray


def check_room(ray: Any, cpus: float, gpus: float) -> None:
    """Make sure that some node can run a trial at all, which Ray would otherwise wait for without a word.

    Raises:
        UserError: none has so many CPUs and GPUs.

    """
    found = [(node["Resources"].get("CPU", 0.0), node["Resources"].get("GPU", 0.0)) for node in alive(ray)]
    if not any(node_cpus >= cpus and node_gpus >= gpus for node_cpus, node_gpus in found):
        nodes = "; ".join(f"{node_cpus:g} CPUs, {node_gpus:g} GPUs" for node_cpus, node_gpus in found)
        raise UserError(
            f"a trial is to have {cpus:g} CPUs and {gpus:g} GPUs, and no node of the Ray cluster has them ({nodes})"
        )


def alive(ray: Any) -> list[dict[str, Any]]:
    """Return what Ray says of each node that is there."""
    return [node for node in ray.nodes() if node["Alive"]]


def probe_storage(ray: Any, folder: Path) -> None:
    """Make sure that every node sees the study's folder and its locks, and that this process sees what a node writes.

    Raises:
        UserError: naming the node that does not.

    """
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    token = secrets.token_hex(8)
    question = folder / f".probe-{token}{TEMPORARY}"
    answers = {node["NodeID"]: folder / f".probe-{token}-{node['NodeID']}{TEMPORARY}" for node in alive(ray)}
    try:
        with question.open("w", encoding="utf-8") as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            held.write(token)
            held.flush()
            tasks = {}
            for node, answer in answers.items():
                where = NodeAffinitySchedulingStrategy(node, soft=False)
                task = ray.remote(answer_probe).options(num_cpus=0, scheduling_strategy=where, max_retries=0)
                tasks[node] = task.remote(question, answer, token)
            names = {node["NodeID"]: node["NodeManagerAddress"] for node in ray.nodes()}
            for node, task in tasks.items():
                check_probe(folder, names[node], _seen(ray, task, names[node]), answered=has(answers[node], token))
    finally:
        for file in (question, *answers.values()):
            file.unlink(missing_ok=True)


def check_probe(folder: Path, node: str, seen: Seen, *, answered: bool) -> None:
    """Raise where a node and this process do not see the same folder."""
    if not (seen.file and answered):
        raise UserError(
            f"{folder}: the node {node} does not see this folder as this machine does; "
            "choose an --out on storage that all nodes share"
        )
    if not seen.lock:
        raise UserError(
            f"{folder}: the node {node} does not see the locks that this machine holds here, so trials could run "
            "twice; mount the file system with locks that reach across nodes (flock)"
        )


def answer_probe(question: Path, answer: Path, token: str) -> Seen:
    """On a node: say whether the driver's file and the lock on it are there, and leave a file beside it."""
    if not has(question, token):
        return Seen(file=False, lock=False)
    with contextlib.suppress(OSError):
        answer.write_text(token, encoding="utf-8")
    with question.open("rb") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return Seen(file=True, lock=True)
    return Seen(file=True, lock=False)


def reason_of(error: BaseException) -> str:
    """Return in one sentence why a task has no answer: of an exception on the node, that exception."""
    cause = getattr(error, "cause", None) or error
    return textwrap.shorten(
        f"{type(cause).__name__}: {cause}".strip().partition("\n")[0], LONGEST_REASON, placeholder=" …"
    )


def has(file: Path, text: str) -> bool:
    """Say whether a file is there and holds just this text."""
    try:
        return file.read_text(encoding="utf-8") == text
    except OSError:
        return False


def _seen(ray: Any, task: Any, node: str) -> Seen:
    try:
        found: Seen = ray.get(task, timeout=PROBE_SECONDS)
    except ray.exceptions.RayError as error:
        raise UserError(f"the node {node} of the Ray cluster cannot run trials: {reason_of(error)}") from None
    return found


def _check_address(address: str | None) -> None:
    """Refuse at once what Ray would try for minutes."""
    if address is None or address in ("auto", "local"):
        return
    host, _, port = address.rpartition(":")
    if "//" in address or not host or not port.isdigit():
        raise UserError(
            f"{address!r} is no address of a Ray cluster; run this on one of its nodes, with auto or with the "
            "HOST:PORT that `ray start` printed",
            ("address",),
        )
    try:
        socket.create_connection((host, int(port)), ADDRESS_SECONDS).close()
    except (OSError, OverflowError):
        raise UserError(f"no Ray cluster answers at {address}", ("address",)) from None


@contextlib.contextmanager
def _own_signal_handler() -> Iterator[None]:
    """Keep the handler that makes SIGTERM a wish to stop, which Ray replaces with one that exits."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if callable(before):
            signal.signal(signal.SIGTERM, before)
