"""The data set that a process of an experiment keeps for the runs to come."""

from __future__ import annotations

from recbole_mm.configuration import checked_config
from recbole_mm.experiment.run import shared_dataset
from recbole_mm.testing.toy import PRE_SPLIT, QUIET, write_planted


def test_another_folders_data_set_of_the_same_name_is_another(tmp_path):
    """As where two experiments are run from one Python, or one after the other in one Ray session."""
    found = []
    folders = {name: write_planted(tmp_path / name, {name: 6}) for name in ("visual", "textual")}
    for folder in [*folders.values(), folders["visual"]]:
        dataset = shared_dataset(checked_config("VBPR", "toy", None, {**QUIET, **PRE_SPLIT, "data_path": str(folder)}))
        found.append(dataset.modalities)
    assert found == [["visual"], ["textual"], ["visual"]]
