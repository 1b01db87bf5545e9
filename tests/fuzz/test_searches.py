"""What searches keep of themselves, whole and damaged: on Ray a description, with Hyperopt a list of trials."""

from __future__ import annotations

import json
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from recbole_mm.tuning.description import Description, read_kept
from recbole_mm.tuning.trial_list import Trial, TrialList
from tests.fuzz.strategies import fuzz, mutated, read_or_refuse

WHOLE = {"settings": {"epochs": 3}, "model": "BPR", "dataset": "toy", "algo": "random", "max_evals": 4,
         "ranges": [["learning_rate", "choice", [0.1, 0.01]]], "files": {"toy.inter": "a"}}  # fmt: skip
KINDS = {"settings": (dict,), "model": (str,), "dataset": (str,), "ranges": (list,), "algo": (str,),
         "max_evals": (int,), "files": (dict, type(None))}  # fmt: skip
values = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4) | st.just([]) | st.just({})


@fuzz
@given(content=mutated(json.dumps(WHOLE, indent=2).encode()))
def test_a_damaged_description(tmp_path, content):
    file = tmp_path / "search.json"
    file.write_bytes(content)
    found = read_or_refuse(lambda: read_kept(file, Description, "restore it"), file)
    assert found is None or all(type(found[key]) in kinds for key, kinds in KINDS.items())


@fuzz
@given(key=st.sampled_from(sorted(WHOLE)), value=values)
def test_a_field_that_is_another(tmp_path, key, value):
    file = tmp_path / "search.json"
    file.write_text(json.dumps(WHOLE | {key: value}))
    found = read_or_refuse(lambda: read_kept(file, Description, "restore it"), file)
    assert (found is not None) == (type(value) in KINDS[key])


DESCRIPTION = {**WHOLE, "early_stop": 10, "hyperopt_seed": "1"}


def trial_list(folder: Path) -> TrialList:
    return TrialList(folder / "x.trials.json", folder / "saved", DESCRIPTION)


@fuzz
@given(data=st.data())
def test_a_damaged_list_of_trials(tmp_path, data):
    """It goes on as it is, or is refused, and deletes no file but checkpoints of the model in their folder."""
    file, saved = tmp_path / "x.trials.json", tmp_path / "saved"
    saved.mkdir(exist_ok=True)
    for name in ("BPR-1.pth", "VBPR-1.pth"):
        (saved / name).touch()
    file.unlink(missing_ok=True)
    trials = trial_list(tmp_path)
    trials.begin()
    trials.ends(Trial(params={"learning_rate": 0.1}, score=0.5, valid_result={"ndcg": 0.5}, checkpoint="BPR-1.pth"))
    trials.trains({"learning_rate": 0.01}, "BPR-2.pth")
    file.write_bytes(data.draw(mutated(file.read_bytes())))
    again = trial_list(tmp_path)
    read_or_refuse(lambda: again.go_on(lambda score, than: than is None or score > than), file)
    assert (saved / "VBPR-1.pth").exists()
    assert all(trial.checkpoint is None or trial.checkpoint.startswith("BPR-") for trial in again.finished)
