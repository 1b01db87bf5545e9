"""Training and evaluation in several processes give what one process gives. On CPUs, with gloo."""

from __future__ import annotations

import hashlib
import os
import socket
from contextlib import suppress
from pathlib import Path
from queue import Empty

import pytest
import torch
import torch.multiprocessing as mp
from recbole.quick_start import load_data_and_model
from recbole.utils import get_trainer

from recbole_mm.host.recbole_settings import RecBoleSettings
from recbole_mm.load import open_checkpoint
from recbole_mm.quick_start import main, run
from recbole_mm.setting_rules import model_settings
from recbole_mm.testing.toy import PRE_SPLIT, Run, start, write_planted

PROCESSES = 3
SETTINGS = {
    **PRE_SPLIT, "embedding_size": 8, "train_batch_size": 60, "learner": "sgd", "learning_rate": 0.1, "knn_k": 3,
    "edge_dropout": 0.3, "topk": [5], "metrics": ["Recall", "NDCG", "ShannonEntropy"], "valid_metric": "NDCG@5",
}  # fmt: skip


DRAW_EDGES = ("POWERec", "FREEDOM")
ONE_STEP = ("MGCN", "LGMRec")
OWN = {
    "MGCN": {"reg_weight": 1.0, "contrast_weight": 0.0},  # a regulariser over the configured batch size
    "LGMRec": {"reg_weight": 0.0, "contrast_weight": 0.1},  # a contrast summed over the batch, against the whole table
    "LATTICE": {"learner": "adam"},  # whose momentum moves a parameter that has a gradient of zero
}


def start_as_here(model: str, folder: Path, **place) -> Run:
    known = {key for kind in (*model_settings(model), RecBoleSettings) for key in kind.model_fields}
    settings = {key: value for key, value in {**SETTINGS, **OWN.get(model, {})}.items() if key in known}
    return start(model, folder, **settings, **place)


def of_models(*names: str):
    """The test's `one_and_several` is of each of these models, made once for all tests."""
    return pytest.mark.parametrize("one_and_several", names, indirect=True, scope="module")


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return write_planted(tmp_path_factory.mktemp("processes"), {"visual": 6, "textual": 4})


def free_port() -> str:
    with socket.socket() as listening:
        listening.bind(("localhost", 0))
        return str(listening.getsockname()[1])


def facts(run: Run, share: slice) -> dict:
    """Test metrics, the edges of an epoch, and what steps with a share of a batch of 60 do to the parameters."""
    trainer, batch = run.trainer(), run.batch()
    trainer.eval_collector.data_collect(run.train_data)
    metrics = trainer.evaluate(run.test_data, load_best_model=False)
    run.model.start_epoch(3)
    edges = None
    if run.config["model"] in DRAW_EDGES:
        graph = run.model.training_graph.to_scipy()
        edges = hashlib.sha256(graph.indices.tobytes() + graph.data.tobytes()).hexdigest()
    run.model.train()
    scaler = torch.amp.GradScaler("cpu", enabled=False)
    after = []
    for _ in range(2):
        trainer._train_batch(batch[share], run.model.calculate_loss, scaler)
        after.append({name: tensor.detach().numpy().copy() for name, tensor in run.model.named_parameters()})
    first, second = after
    return {
        "metrics": dict(metrics),
        "edges": edges,
        "users": len(run.test_data.sampler),
        "parameters": first,
        "moved_by_second_step": {name for name in first if (first[name] != second[name]).any()},
    }


def in_process(rank: int, model: str, folder: Path, batch: dict, port: str, queue) -> None:
    """One process of a run; all get the same batch of 60 and train on 20 of it each."""
    os.environ["OMP_NUM_THREADS"] = "1"
    place = {"local_rank": rank, "nproc": PROCESSES, "world_size": PROCESSES, "ip": "localhost", "port": port}
    run = start_as_here(model, folder, **place, offset=0)
    run.batch = lambda: interaction(batch)
    queue.put((rank, facts(run, slice(rank * 20, rank * 20 + 20))))
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()


def interaction(batch: dict):
    from recbole.data.interaction import Interaction

    return Interaction({name: torch.tensor(values) for name, values in batch.items()})


@pytest.fixture(scope="module")
def one_and_several(request, folder, forkserver) -> tuple[dict, list[dict]]:
    """The facts of one process, and of each of several."""
    alone = start_as_here(request.param, folder)
    whole = alone.batch()
    batch = {name: whole[name][:60].tolist() for name in ("user_id", "item_id", "neg_item_id")}
    alone.batch = lambda: interaction(batch)
    single = facts(alone, slice(0, 60))
    queue = mp.get_context("forkserver").Queue()
    arguments = (request.param, folder, batch, free_port(), queue)
    context = mp.start_processes(in_process, args=arguments, nprocs=PROCESSES, join=False, start_method="forkserver")
    found = {}
    while len(found) < PROCESSES:
        context.join(timeout=0)  # raises what one of them raised
        with suppress(Empty):
            found.update([queue.get(timeout=1)])
    while not context.join():
        pass
    return single, [found[rank] for rank in range(PROCESSES)]


@of_models(*DRAW_EDGES)
def test_every_user_is_counted_once(one_and_several):
    """40 users over three processes: 14, 13 and 13; the metrics are those of one process to the last digit."""
    single, several = one_and_several
    assert [process["users"] for process in several] == [14, 13, 13]
    assert [process["metrics"] for process in several] == [single["metrics"]] * PROCESSES
    assert set(single["metrics"]) == {"recall@5", "ndcg@5", "shannonentropy@5"}


@of_models(*DRAW_EDGES)
def test_all_processes_draw_the_same_edges(one_and_several):
    single, several = one_and_several
    assert [process["edges"] for process in several] == [single["edges"]] * PROCESSES


@of_models(*DRAW_EDGES, *ONE_STEP)
def test_a_step_on_shares_of_a_batch_is_the_step_on_the_batch(one_and_several):
    single, several = one_and_several
    for name, expected in single["parameters"].items():
        for process in several:
            # sums of 60 float32 terms in another order
            torch.testing.assert_close(
                torch.from_numpy(process["parameters"][name]), torch.from_numpy(expected), rtol=1e-4, atol=1e-5
            )


@of_models("LATTICE")
def test_what_item_graphs_are_built_from_rests_in_later_batches(one_and_several):
    single, several = one_and_several
    assert single["moved_by_second_step"] == {"user_embedding", "item_embedding"}
    assert [process["moved_by_second_step"] for process in several] == [single["moved_by_second_step"]] * PROCESSES


@pytest.mark.parametrize("model, own", [("POWERec", {}), ("FREEDOM", {"knn_k": 3})])
def test_a_run_in_two_processes_learns_what_one_learns(folder, forked, model, own):
    """The processes draw other negative items and another batch order: the same within a few users of 40.

    Those of commands, in test_main and test_interrupts, start from nothing, as a user's do.
    """
    settings = {
        **PRE_SPLIT, "data_path": str(folder), "embedding_size": 8, "train_batch_size": 64, "epochs": 15,
        "learning_rate": 0.01, "eval_step": 5, "topk": [5], "metrics": ["Recall"], "valid_metric": "Recall@5",
        "state": "WARNING", "show_progress": False, "gpu_id": "", **own,
    }  # fmt: skip
    results = [
        run(
            model, "toy", config_dict={**settings, "checkpoint_dir": f"saved-{nproc}"}, nproc=nproc, port=free_port()
        )["test_result"]["recall@5"]
        for nproc in (1, 2)
    ]  # fmt: skip
    assert min(results) > 0.7
    assert abs(results[0] - results[1]) < 0.12
    (checkpoint,) = Path("saved-2").glob(f"{model}-*.pth")
    opened = open_checkpoint(checkpoint)  # in one process, though two wrote it
    assert recall_of(opened.config, opened.model, opened.test_data) == results[1]
    config, trained, _, _, _, test_data = load_data_and_model(str(checkpoint))
    assert recall_of(config, trained, test_data) == results[1]


def recall_of(config, model, test_data) -> float:
    trainer = get_trainer(config["MODEL_TYPE"], config["model"])(config, model)
    return trainer.evaluate(test_data, load_best_model=False)["recall@5"]


def test_training_in_stages_takes_one_process(folder, forked, capsys):
    arguments = [f"--data_path={folder}", "--benchmark_filename=['train','valid','test']", "--state=WARNING"]
    assert main(["--model=MARGO", "--dataset=toy", "--nproc=2", f"--port={free_port()}", *arguments]) == 2
    assert "error: MARGO trains in stages, which takes one process; leave --nproc out" in capsys.readouterr().err


def test_a_port_that_is_taken(folder, forked, capsys, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with socket.socket() as other:
        other.bind(("localhost", 0))
        other.listen()
        arguments = [f"--data_path={folder}", "--benchmark_filename=['train','valid','test']", "--state=WARNING"]
        port = f"--port={other.getsockname()[1]}"
        assert main(["--model=POWERec", "--dataset=toy", "--nproc=2", "--gpu_id=", port, *arguments]) == 2
    assert "error: --port: another process of this machine has the port already" in capsys.readouterr().err
    assert not list(tmp_path.rglob("pytorch-errorfile-*"))  # which torch leaves behind for each child that failed
