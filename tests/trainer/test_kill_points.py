"""A run that is killed before any of its renames goes on to the numbers it would have reached."""

from __future__ import annotations

import json

import pytest

from recbole_mm.testing.toy import write_planted
from tests.commands import run

# One process that imports once and forks: each child trains and ends itself before its n-th rename.
SCRIPT = '''
import gc, hashlib, json, os, sys
from pathlib import Path
import torch
from recbole_mm.trainer.checkpoint import read_safe_pair
from recbole_mm.testing.toy import PRE_SPLIT, start

torch.set_num_threads(1)
data_path, model, settings = Path(sys.argv[1]), sys.argv[2], json.loads(sys.argv[3])
sys.argv[1:] = []
rename = os.replace


def train(folder, *arguments):
    done = train_and_test(folder, *arguments)
    gc.collect()  # the trainer, with which the last state goes
    return {**done, "left": sorted(file.name for file in folder.rglob("*-last.safetensors"))}


def train_and_test(folder, kill_at=None, resume_from=None):
    renames, epochs = [], []

    def replace(source, target):
        if folder in Path(target).parents and not Path(target).name.startswith("."):  # whose run it is, while it is
            if len(renames) == kill_at:
                (folder / "killed").write_text(json.dumps([Path(target).name, epochs]))
                os._exit(9)
            renames.append(Path(target).name)
        rename(source, target)

    os.replace = os.rename = replace
    run = start(model, data_path, **PRE_SPLIT, **settings, checkpoint_dir=str(folder), resume_from=resume_from)
    trainer = run.trainer()
    stage = lambda: getattr(trainer, "stage", None)
    begun, first = trainer._start_epoch, []

    def begin(epoch):
        first.append([stage(), epoch])
        begun(epoch)

    trainer._start_epoch = begin
    score, result = trainer.fit(run.train_data, run.valid_data, callback_fn=lambda e, _: epochs.append([stage(), e]))
    last = digest(run.model)
    test = trainer.evaluate(run.test_data)
    numbers = {"score": score, "valid": dict(result), "test": dict(test), "last": last, "best": digest(run.model)}
    loss = trainer.train_loss_dict[max(trainer.train_loss_dict)] if trainer.train_loss_dict else None
    return {"numbers": numbers, "loss": loss, "first": first[:1], "epochs": epochs, "renames": renames}


def digest(model):
    return hashlib.sha256(b"".join(w.numpy().tobytes() for w in model.state_dict().values())).hexdigest()


def forked(name, *arguments):
    folder = Path(name)
    folder.mkdir(exist_ok=True)
    child = os.fork()
    if child == 0:
        (folder / "result").write_text(json.dumps(train(folder.absolute(), *arguments)))
        os._exit(0)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    found = folder / ("killed" if code == 9 else "result")
    return json.loads(found.read_text()) if code in (0, 9) else code


def points(renames):
    """Of each pair of file kinds that follow each other, the first one and the last."""
    kinds = [name[name.index("."):] if "-last" not in name else "last" for name in renames]
    kinds = [(kind, "stage" in name) for kind, name in zip(kinds, renames)]
    first, last = {}, {}
    for number, pair in enumerate(zip([None, *kinds], kinds)):
        first.setdefault(pair, number)
        last[pair] = number
    return sorted({0, *first.values(), *last.values()})


def opens(files):
    pairs = [file for file in files if file.suffix == ".json"]
    return [read_safe_pair(file).write_id is not None for file in pairs]


Path("warm").mkdir()
train(Path("warm").absolute())  # what is imported at the first step, the children have
os.replace = os.rename = rename
whole = forked("whole")
print(json.dumps(whole))
for point in points(whole["renames"]):
    target, epochs = forked(f"kill-{point}", point)
    files = [file for file in Path(f"kill-{point}").rglob("*") if file.is_file() and not file.name.startswith(".")]
    runs = [file for file in files if file.suffix in (".pth", ".safetensors")]
    assert all(opens(files)), target
    if not runs:
        assert point == 0
        continue
    newest = max(runs, key=lambda file: file.stat().st_mtime_ns)
    resumed = forked(f"kill-{point}", None, str(newest))
    print(json.dumps({"point": point, "target": target, "epochs": epochs, "resumed": resumed}))
'''

SETTINGS = {
    "embedding_size": 8, "n_layers": 2, "train_batch_size": 64, "learning_rate": 0.05, "epochs": 6, "edge_dropout": 0.3,
    "topk": [5], "metrics": ["Recall", "NDCG"], "valid_metric": "NDCG@5", "stopping_step": 10,
    "lr_decay": {"factor": 0.5, "epochs": 4},
}  # fmt: skip


@pytest.mark.parametrize(
    ("model", "settings"),
    [
        ("POWERec", {}),
        ("POWERec", {"eval_step": 2, "learner": "rmsprop"}),
        ("MARGO", {"backbone": "POWERec", "epochs": 4, "learning_rate": 0.3}),
    ],
    ids=["POWERec", "every second epoch evaluated", "MARGO"],
)
def test_killed_before_every_rename(tmp_path, model, settings):
    data_path = write_planted(tmp_path / "planted", {"visual": 6, "textual": 4})
    arguments = [str(data_path), model, json.dumps({**SETTINGS, **settings})]
    done = run(["-c", SCRIPT, *arguments], tmp_path)
    assert done.returncode == 0, done.stderr
    whole, *killed = (json.loads(line) for line in done.stdout.splitlines() if line.startswith("{"))
    assert any("-last" in name for name in whole["renames"])  # not every epoch is the best one
    assert len(killed) >= 6
    for kill in killed:
        resumed = kill["resumed"]
        assert resumed["numbers"] == whole["numbers"], kill["target"]
        assert resumed["loss"] in (None, whole["loss"])
        assert resumed["left"] == []
        assert len(_lost(kill["epochs"], resumed["first"], whole["epochs"])) <= 1, kill


def _lost(finished: list, first: list, all_evaluated: list) -> list:
    """Evaluated epochs that were over when the run was killed and are trained again."""
    if not first:
        return []
    order = {tuple(epoch): number for number, epoch in enumerate(all_evaluated)}
    stages = list(dict.fromkeys(stage for stage, _ in all_evaluated))
    again = (stages.index(first[0][0]), first[0][1])
    return [epoch for epoch in finished if tuple(epoch) in order and (stages.index(epoch[0]), epoch[1]) >= again]
