"""MARGO where the right answer is known: a modality is noise for some items, and the weights tell for which."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from sklearn.metrics import roc_auc_score

from recbole_mm.testing.model_runs import SMALL
from recbole_mm.testing.toy import start, write_dataset


def test_weights_find_the_noisy_half():
    """Each modality is noise for its own half of the items; the weights tell which, and rank better than the sum."""
    noisy = write_half_noise(Path("half"), noise=1.0)
    settings = {"backbone": "DRAGON", "n_layers": 1, "knn_k": 2, "modality_weights": [0.5, 0.5], "reg_weight": 0.1}
    assert_margo_finds(noisy, Path("half"), epochs=35, **settings)


def test_weights_find_the_noisy_half_of_one_modality():
    """Acoustic features are noise, as large as the others, for half of the items; visual ones are good for all.

    Ratings are those of the content alone: propagation would tell a noisy item's acoustic vector who has it.
    """
    noisy = write_half_noise(Path("half"), noise=5**0.5, both=False)
    settings = {"backbone": "POWERec", "propagation": "BPR", "reg_weight": 0.01}
    assert_margo_finds(noisy, Path("half"), epochs=35, **settings)


class TestShippedSettings:
    """Stage two with MARGO's own rate, alpha and tau, behind a first stage that has learnt something of 2,000 pairs.

    The controls are the weights frozen at one half, in the same second stage: what the sum lacks is not the weights'.
    """

    def test_weights_point_the_right_way_and_hardly_move(self):
        noisy = write_half_noise(Path("half"), noise=1.0)
        backbone = {"backbone": "DRAGON", "n_layers": 1, "knn_k": 2, "modality_weights": [0.5, 0.5]}
        begun = first_stage(**backbone)
        auc, spread, recall = second_stage(noisy, begun, **backbone)
        frozen = {**backbone, "item_weights_learning_rate": 0.0}
        frozen_auc, frozen_spread, frozen_recall = second_stage(noisy, begun, **frozen)
        assert auc >= 0.8 and 0.4 < frozen_auc < 0.6
        assert frozen_spread < spread < 0.05  # of weights about one half
        assert abs(recall - frozen_recall) < 0.02  # too little to rank otherwise

    def test_with_a_rate_of_their_own_they_rank_better_than_frozen_ones(self):
        """The one noisy modality, whose ratings are of the content alone."""
        noisy = write_half_noise(Path("half"), noise=5**0.5, both=False)
        backbone = {"backbone": "POWERec", "propagation": "BPR", "reg_weight": 0.01}
        begun = first_stage(**backbone)
        auc, spread, recall = second_stage(noisy, begun, **backbone, item_weights_learning_rate=0.01)
        _, _, frozen_recall = second_stage(noisy, begun, **backbone, item_weights_learning_rate=0.0)
        assert auc >= 0.75 and spread > 0.1
        assert recall > frozen_recall + 0.01


PLANTED = {
    **SMALL, "modalities": ["visual", "acoustic"], "train_batch_size": 64, "topk": [20], "valid_metric": "Recall@20",
    "stopping_step": 100, "eval_step": 10,
}  # fmt: skip


def first_stage(**backbone) -> str:
    """Checkpoint of the plain sum."""
    settings = {**PLANTED, **backbone, "item_weights": False, "epochs": 35, "learning_rate": 0.005}
    run = start("MARGO", Path("half"), **settings, checkpoint_dir="sum")
    trainer = run.trainer()
    trainer.fit(run.train_data, run.valid_data)
    return trainer.saved_model_file


def second_stage(noisy: set[str], begun: str, **settings) -> tuple[float, float, float]:
    """AUC of the acoustic weight, its standard deviation over items, and the test Recall@20."""
    own = {**PLANTED, **settings, "stage_one_checkpoint": begun, "stage_two_epochs": 60}
    run = start("MARGO", Path("half"), **own, checkpoint_dir="weighted")
    assert [run.config[key] for key in ("learning_rate", "calibration_weight", "temperature")] == [1e-4, 0.1, 5]
    trainer = run.trainer()
    trainer.fit(run.train_data, run.valid_data)
    recall = trainer.evaluate(run.test_data)["recall@20"]
    auc, weights = acoustic_auc(run, noisy)
    return auc, float(weights.std()), recall


def acoustic_auc(run, noisy: set[str]) -> tuple[float, np.ndarray]:
    """How well items' acoustic weights tell the clean from the noisy, and the weights."""
    tokens = run.dataset.field2id_token["item_id"][1:]
    acoustic = run.model.item_weights()[1:, run.model.rated_modalities.index("acoustic")].detach().numpy()
    return roc_auc_score(np.array([token not in noisy for token in tokens]), acoustic), acoustic


def assert_margo_finds(noisy: set[str], path: Path, epochs: int, **backbone) -> None:
    """Both stages, and the plain sum for as many epochs: AUC of the acoustic weight 0.8, and a better ranking."""
    settings = {
        **SMALL, "modalities": ["visual", "acoustic"], "train_batch_size": 256, "learning_rate": 0.005,
        "temperature": 0.1, "calibration_weight": 1.0, "topk": [20], "valid_metric": "Recall@20", "stopping_step": 100,
    }  # fmt: skip
    results = {}
    for name, stages in (("sum", {"item_weights": False, "epochs": 2 * epochs}), ("margo", {"epochs": epochs})):
        run = start("MARGO", path, **{**settings, **backbone, **stages}, checkpoint_dir=name)
        trainer = run.trainer()
        trainer.fit(run.train_data, run.valid_data)
        results[name] = trainer.evaluate(run.test_data)["recall@20"]
    assert acoustic_auc(run, noisy)[0] >= 0.8
    assert results["margo"] > results["sum"]


def write_half_noise(folder: Path, noise: float, both: bool = True) -> set[str]:
    """100 users and 600 items in 12 groups; gives the items whose acoustic features are noise.

    A user has 20 training items of its group, so that few users are seen per item and features matter. Acoustic
    features show the group of every other item and are noise of that deviation for the rest; visual ones the other
    way round, so that no modality is better on the whole, or with ``both=False`` show the group of all.
    """
    rng = np.random.default_rng(0)
    items = [f"i{number}" for number in range(600)]
    group = {item: (number // 2) % 12 for number, item in enumerate(items)}
    noisy = {"acoustic": set(items[1::2]), "visual": set(items[::2]) if both else set()}
    splits: dict[str, list] = {"train": [], "valid": [], "test": []}
    for user in range(100):
        own = [item for item in items if group[item] == user % 12]
        chosen = [str(item) for item in rng.permutation(own)[:40]]
        for split, part in (("train", chosen[:20]), ("valid", chosen[20:25]), ("test", chosen[25:])):
            splits[split] += [(f"u{user}", item) for item in part]
    features = {}
    for modality in ("visual", "acoustic"):
        centres = rng.standard_normal((12, 16))
        features[modality] = {}
        for item in items:
            row = rng.standard_normal(16)
            features[modality][item] = noise * row if item in noisy[modality] else row + 2 * centres[group[item]]
    write_dataset(folder, splits, features)
    return noisy["acoustic"]
