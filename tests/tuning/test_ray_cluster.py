"""Searches that lose their process or a node."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import pytest
import ray
from ray import tune

from recbole_mm.tuning.command import main
from tests import commands
from tests.waiting import wait_for_end, wait_until

if not hasattr(tune, "RunConfig"):
    pytest.skip("this ray is older than --tool=Ray asks for", allow_module_level=True)

# A delay after each epoch, so that there is a time at which some trials have ended and others have not.
SLOW_SCRIPT = """
import sys, time
from recbole_mm.tuning import ray_trial
from recbole_mm.tuning.command import main

train = ray_trial._train

def slow(settings, shared):
    call = ray_trial._Report.on_evaluation

    def report(self, *arguments):
        time.sleep(0.5)
        call(self, *arguments)

    ray_trial._Report.on_evaluation = report
    try:
        train(settings, shared)
    finally:
        ray_trial._Report.on_evaluation = call

def run_slowly(params, settings, shared):
    ray_trial._train = slow
    ray_trial.run_trial(params, settings, shared)

from recbole_mm.tuning import ray_search
ray_search.run_trial = run_slowly
sys.exit(main())
"""


@pytest.fixture
def command(arguments) -> list[str]:
    Path("slow.py").write_text(SLOW_SCRIPT)
    Path("grid.hyper").write_text("prompt_num choice [1,2,3]\nweak_weight choice [0,0.5]\n")
    common = ["--tool=Ray", "--search_dir=search", "--asha_grace=0", "--epochs=4", "--concurrent_trials=2"]
    return [*arguments[:2], "--params_file=grid.hyper", *common]


def start(script: str, command: list[str]) -> commands.Command:
    with open("output.txt", "a") as output:
        return commands.start([script, *command], output, output, TUNE_GLOBAL_CHECKPOINT_S="0.5")


def rows(folder: str) -> list[dict[str, str]]:
    with open(Path(folder) / "results.csv", newline="") as source:
        return list(csv.DictReader(source))


def result_lines(folder: str) -> dict[Path, int]:
    """Reports of each trial so far."""
    return {file: len(file.read_text().splitlines()) for file in Path(folder).glob("trial-*/result.json")}


def best(output: str) -> tuple[str, ...]:
    return tuple(re.findall(r"^(?:best parameters|valid result|test result): (.*)$", output, re.MULTILINE))


def test_a_killed_search_goes_on_to_the_same_winner(command, capsys):
    """The winner is that of RecBole's own search of the same grid, which is in one process and not killed.

    The state on disk is cut off, as where the kill comes while Ray writes it.
    """
    process = start("slow.py", command)
    # The first two have ended, two are under way.
    wait_until(lambda: len(result_lines("search")) >= 4, process, Path("output.txt"))
    process.kill()
    process.wait()
    before = result_lines("search")
    assert 4 <= len(before) < 6
    finished = {file: file.stat().st_mtime_ns for file, count in before.items() if count == 5}
    assert start("slow.py", [*command, "--resume"]).wait() == 0, Path("output.txt").read_text()
    assert [row["status"] for row in rows("search")] == ["finished"] * 6
    assert len(finished) >= 2
    for file in Path("search").glob("experiment_state-*.json"):
        file.write_bytes(file.read_bytes()[:100])
    assert {file: file.stat().st_mtime_ns for file in finished} == finished
    assert main([*command[:3], "--epochs=4"]) == 0
    whole = best(capsys.readouterr().out)
    assert len(whole) == 3
    assert best(Path("output.txt").read_text()) == whole


def test_a_node_is_lost_and_all_trials_are_accounted_for(command):
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    try:
        second = cluster.add_node(num_cpus=1)
        process = start("slow.py", [*command, f"--ray_address={cluster.address}"])
        wait_until(lambda: sum(result_lines("search").values()) >= 4, process, Path("output.txt"))
        cluster.remove_node(second, allow_graceful=False)
        assert wait_for_end(process, Path("output.txt")) == 0, Path("output.txt").read_text()
    finally:
        cluster.shutdown()
        ray.shutdown()
    table = rows("search")
    assert len({(row["prompt_num"], row["weak_weight"]) for row in table}) == 6
    assert [row["status"] for row in table] == ["finished"] * 6
