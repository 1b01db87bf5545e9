"""What a callback learns of each evaluation, of RecBole's trainers and ours."""

from __future__ import annotations

import pytest
from recbole.data import create_dataset, data_preparation
from recbole.utils import get_model, get_trainer, init_seed

from recbole_mm import evaluation_callback
from recbole_mm.configuration import checked_config
from recbole_mm.host.evaluations import tell_before_saving
from recbole_mm.testing.toy import PRE_SPLIT, QUIET, write_planted


@pytest.mark.parametrize("model", ["LightGCN", "FREEDOM", "MARGO"])
def test_epoch_score_metrics_and_whether_it_is_the_best(model, tmp_path):
    folder = write_planted(tmp_path, {"visual": 6, "textual": 4})
    settings = {**PRE_SPLIT, **QUIET, "data_path": str(folder), "epochs": 6, "stopping_step": 6, "topk": [5],
                "metrics": ["Recall", "NDCG"], "valid_metric": "NDCG@5", "learning_rate": 0.01}  # fmt: skip
    config = checked_config(model, "toy", None, settings)
    init_seed(config["seed"], config["reproducibility"])
    dataset = create_dataset(config)
    train_data, valid_data, _ = data_preparation(config, dataset)
    trainer = get_trainer(config["MODEL_TYPE"], config["model"])(
        config, get_model(config["model"])(config, train_data.dataset).to(config["device"])
    )
    seen, before_saving = [], []
    tell_before_saving(trainer, lambda *evaluation: before_saving.append((*evaluation, trainer.best_valid_score)))
    callback = evaluation_callback(trainer, lambda *evaluation: seen.append(evaluation))
    score, result = trainer.fit(train_data, valid_data, verbose=False, callback_fn=callback)
    n_stages = len(getattr(trainer.model, "stages", ("one",)))
    assert [epoch for epoch, *_ in seen] == [*range(6)] * n_stages
    for first in range(0, len(seen), 6):
        best = -1.0
        for _, value, metrics, is_best in seen[first : first + 6]:
            assert value == metrics["ndcg@5"] and set(metrics) == {"recall@5", "ndcg@5"}
            assert is_best == (value > best)
            best = max(best, value)
    assert (score, dict(result)) == (best, next(evaluation[2] for evaluation in reversed(seen) if evaluation[3]))
    assert len({evaluation[1] for evaluation in seen}) > 1
    assert [evaluation[:2] for evaluation in before_saving] == [evaluation[1:3] for evaluation in seen]
    assert all(best < score for (score, _, best), (*_, is_best) in zip(before_saving, seen, strict=True) if is_best)
