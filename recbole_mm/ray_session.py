"""Starting Ray on this machine, or joining a cluster, with an error where that cannot work."""

from __future__ import annotations

import logging
import os
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ray
from ray import tune
from recbole.config import Config

import recbole_mm

_CONNECT_SECONDS = 5
_WATCH_SECONDS = 2.0
_LOST_SECONDS = 10.0  # without an answer; Ray itself gives up after 60
AGAIN = "type the same command again"
TOO_SLOW = "timed out during startup"  # what Ray says of its own processes


class HeadWatch(threading.Thread):
    """Ends this process with one line where its cluster's head has gone; Ray does so a minute later, in its own words.

    Until then Ray lets calls fail as if the work had, or wait for ever, and no error reaches who waits.

    Args:
        address: ``host:port`` that the head answers at.
        go_on: what to do once it is there again.
        every: seconds between two looks.
        lost: seconds without an answer, after which it has gone.
    """

    def __init__(self, address: str, go_on: str, every: float = _WATCH_SECONDS, lost: float = _LOST_SECONDS):
        super().__init__(daemon=True, name="head-watch")
        self.address, self.go_on, self._every, self._lost = address, go_on, every, lost
        self._done = threading.Event()

    def run(self) -> None:
        while not self._done.wait(self._every):
            self.look()

    def look(self) -> None:
        """Return where the head answers, or the session is over; else end the process with exit code 2."""
        end = time.monotonic() + self._lost
        while not (self._done.is_set() or _answers(self.address)):
            if time.monotonic() > end:
                what = f"the head of the Ray cluster at {self.address} has ended"
                print(f"error: {what}; start it again, and {self.go_on}", file=sys.stderr, flush=True)
                os._exit(2)  # ways out that close Ray would wait for the head
            time.sleep(min(1.0, self._every))

    def stop(self) -> None:
        self._done.set()


_watch: HeadWatch | None = None  # of the session that there is


def check_head() -> None:
    """Return where the head of this session's cluster answers; a failed call says nothing about its work otherwise."""
    if _watch is not None:
        _watch.look()


def _answers(address: str) -> bool:
    try:
        _call(address)
    except OSError:
        return False
    return True


def _call(address: str) -> None:
    """Raise OSError where no process listens at ``host:port``, ValueError where that is no address."""
    host, _, port = address.rpartition(":")
    if not 0 < int(port) < 2**16:  # some systems take it modulo that
        raise ValueError(f"{port} is no port")
    socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT_SECONDS).close()


@contextmanager
def _watched(address: str | None, go_on: str) -> Iterator[None]:
    """Watch the head of somebody else's cluster; this machine's own ends with the session."""
    global _watch
    if address is None:
        yield
        return
    is_client = address.startswith("ray://")
    head = address.removeprefix("ray://") if is_client else ray.get_runtime_context().gcs_address
    _watch = HeadWatch(head, go_on)
    _watch.start()
    try:
        yield
    finally:
        _watch.stop()
        _watch = None


@contextmanager
def ray_session(address: str | None = None, go_on: str = AGAIN) -> Iterator[None]:
    """Ray within the context: the cluster at `address`, or one of this machine's own that ends with it.

    Without an address, a Ray that this process has started already is used and left running. Workers find recbole_mm
    where this process has it; on another machine it must be installed, or lie at the same path. Where the head goes in
    between, the process ends with a line that says to `go_on` (:class:`HeadWatch`).

    Raises ValueError where nothing answers at the address, Ray does not start here, or the installed one is too old.
    """
    if not hasattr(tune, "RunConfig"):
        raise ValueError(f"ray {ray.__version__} is too old for this; type: pip install -U 'ray[tune,data]'")
    if address is None and ray.is_initialized():
        yield
        return
    if address is not None:
        _check_address(address)
    os.environ.setdefault("TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S", "0")  # we mean it
    os.environ.setdefault("TUNE_DISABLE_SIGINT_HANDLER", "1")  # it takes an interrupted search for a finished one
    # Ray reports to its makers unless told not to, and its data library asks a port of this machine for figures until
    # the process ends, in a thread that nobody stops.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    package = str(Path(recbole_mm.__file__).resolve().parents[1])
    path = os.pathsep.join(filter(None, (package, os.environ.get("PYTHONPATH"))))
    # without "local", Ray would join whatever `ray start` left on this machine, alive or dead
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.WARNING}
    options |= {"address": "local", "include_dashboard": False} if address is None else {"address": address}
    if address is None:  # its own token keeps others out, which needs no warning
        logging.getLogger("ray._private.authentication").setLevel(logging.ERROR)
    try:
        _start(runtime_env={"env_vars": {"PYTHONPATH": path}}, **options)
    except ConnectionError as error:
        token = "" if "RAY_AUTH_MODE" in os.environ else ", or export RAY_AUTH_MODE=token if it asks for Ray's token"
        raise ValueError(
            f"--ray_address: no Ray cluster lets us in at {address}; start one with: ray start --head{token}"
        ) from error
    try:
        with _watched(address, go_on):
            yield
    finally:
        ray.shutdown()


def _start(**options: Any) -> None:
    """``ray.init``, and again where Ray's processes took longer than the 30 seconds that it gives them."""
    for is_last in (False, True):
        try:
            ray.init(**options)
            return
        except Exception as error:  # of no class of its own
            if TOO_SLOW not in str(error):
                raise
            ray.shutdown()
            if is_last:
                raise ValueError(
                    "Ray's processes did not start within 30 seconds, twice; end what else keeps this machine busy or "
                    "fills its memory, and try again"
                ) from error


def _check_address(address: str) -> None:
    """Raise ValueError where no process listens at ``host:port``; Ray itself would try for minutes."""
    if address in ("auto", "local"):
        return
    try:
        _call(address.removeprefix("ray://"))
    except OSError as error:
        raise ValueError(f"--ray_address: nothing answers at {address} ({error}); is the cluster up?") from error
    except ValueError as error:
        no_address = f"'{address}' is no address; write host:port, such as 10.0.0.1:6379, or auto"
        raise ValueError(f"--ray_address: {no_address}") from error


def process_per_node() -> dict[str, Any]:
    """Options of `map_batches`: one process per node, with all its CPUs but one for the job's own tasks."""
    from ray.data import ActorPoolStrategy  # of the extra `ray`, which a search does not need

    nodes = [node["Resources"]["CPU"] for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU")]
    return {"compute": ActorPoolStrategy(size=len(nodes)), "num_cpus": max(1, min(nodes) - 1)}


def check_resources(config: Config) -> None:
    """Raise ValueError where no node has what one trial asks for: Ray would wait for such a node forever."""
    for key, resource in (("cpus_per_trial", "CPU"), ("gpus_per_trial", "GPU")):
        most = max(node["Resources"].get(resource, 0) for node in ray.nodes() if node["Alive"])
        if config[key] > most:
            raise ValueError(f"{key}: {config[key]:g} is more than any node has ({most:g} {resource}); lower it")
