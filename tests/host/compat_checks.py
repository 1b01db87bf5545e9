"""What each fix of recbole_mm/host/compat.py is for, as checks of RecBole's own behaviour.

Run as a script, it calls its last functions, each in a copy of a process where RecBole is imported and not
yet mended, and prints what they return as JSON.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import sys
import tempfile
import warnings
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import torch

ROOT = Path(__file__).resolve().parents[2]
USERS, ITEMS = 12, 15
QUICK = dict(
    data_path="data", epochs=1, show_progress=False, state="ERROR", use_gpu=False, checkpoint_dir="saved",
    train_batch_size=64, eval_batch_size=1000,
)  # fmt: skip


def unapplied_compat() -> ModuleType:
    """compat.py by itself: the package would apply it."""
    for name in ("recbole_mm", "recbole_mm.host"):
        if name not in sys.modules:
            package = ModuleType(name)
            package.__path__ = [str(ROOT / name.replace(".", "/"))]
            sys.modules[name] = package
    spec = spec_from_file_location("compat", ROOT / "recbole_mm" / "host" / "compat.py")
    compat = module_from_spec(spec)
    spec.loader.exec_module(compat)
    return compat


def write_atomic(name: str, suffix: str, *rows: str) -> None:
    """Write ``data/<name>/<name>.<suffix>``; cells are separated by | for legibility."""
    folder = Path("data", name)
    folder.mkdir(parents=True, exist_ok=True)
    Path(folder, f"{name}.{suffix}").write_text("".join(row.replace("|", "\t") + "\n" for row in rows))


def small_config(model: str = "BPR", dataset: str = "tiny", **settings):
    """Configuration of one quick run on the CPU; writes the data set ``tiny``, which has no gaps."""
    from recbole.config import Config

    ratings = [f"u{u}|i{(u + 2 * k) % ITEMS}|{1 + k % 5}|{k}" for u in range(USERS) for k in range(10)]
    write_atomic("tiny", "inter", "user_id:token|item_id:token|rating:float|timestamp:float", *ratings)
    return Config(model=model, dataset=dataset, config_dict={**QUICK, **settings})


def gap_item_features(**settings):
    """Interaction of the features of i0 (complete), i1, i2 (with gaps), i3 (without a row), behind [PAD]."""
    from recbole.data import create_dataset

    write_atomic("gaps", "inter", "user_id:token|item_id:token", "u0|i0", "u0|i1", "u0|i2", "u0|i3")
    write_atomic(
        "gaps", "item", "item_id:token|brand:token|price:float|tags:token_seq|vector:float_seq",
        "i0|b0|1|t0 t1|0.5 1.5", "i1||3||", "i2|b1||t2|2.5",
    )  # fmt: skip
    settings = dict(settings, load_col=None, filter_inter_by_user_or_item=False)
    dataset = create_dataset(small_config(dataset="gaps", **settings))
    dataset._change_feat_format()
    return dataset.item_feat


def check_anomaly_detection() -> None:
    from recbole.model.sequential_recommender import SINE  # noqa: F401

    assert not torch.is_anomaly_enabled()


def check_numpy_aliases() -> None:
    assert small_config()["model"] == "BPR"


def check_numpy_names() -> None:
    from recbole.data.interaction import Interaction
    from recbole.evaluator import metrics
    from recbole.trainer import HyperTuning

    config = small_config(topk=[3], valid_metric="MRR@3")
    hits, relevant = np.array([[False, True, True], [False, False, False]]), np.array([2, 1])
    np.testing.assert_allclose(metrics.MRR(config).metric_info(hits), [[0, 1 / 2, 1 / 2], [0, 0, 0]])
    average_precision = [0, 1 / 4, (1 / 2 + 2 / 3) / 2]  # user 0 has hits at 2 and 3, and no other items
    np.testing.assert_allclose(metrics.MAP(config).metric_info(hits, relevant)[0], average_precision)
    ndcg = (1 / np.log2(3) + 1 / np.log2(4)) / (1 + 1 / np.log2(3))
    np.testing.assert_allclose(metrics.NDCG(config).metric_info(hits, relevant)[0, 2], ndcg)
    assert Interaction({"price": [1.5, 2.5]})["price"].tolist() == [1.5, 2.5]
    tuning = HyperTuning(None, params_dict={"choice": {"a": [1]}}, display_file="trials.html")
    tuning.model, tuning.score_list, tuning.params_list = "BPR", [0.25], ["a:1"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("webbrowser.open", lambda *_, **__: True)
        tuning.plot_hyper()
    assert "a:1" in Path("trials.html").read_text()


def check_chained_fillna() -> None:
    items = gap_item_features()
    assert items["brand"].tolist() == [0, 1, 0, 2, 0]
    assert items["price"].tolist() == [2, 1, 3, 2, 2]  # the mean of 1 and 3 where there is none
    assert items["tags"].tolist() == [[0, 0], [1, 2], [0, 0], [3, 0], [0, 0]]
    assert items["vector"].tolist() == [[0, 0], [0.5, 1.5], [0, 0], [2.5, 0], [0, 0]]


def check_elementwise_len() -> None:
    from recbole.data import create_dataset

    items = gap_item_features(normalize_field=["vector"])
    assert items["vector"].tolist() == [[0, 0], [0, 0.5], [0, 0], [1, 0], [0, 0]]
    buckets = {"vector": {"method": "ED", "bucket": 2}}
    items = gap_item_features(numerical_features=["vector"], discretization=buckets)
    # Each value is 1 and its bucket: of two, 1 wide, from 0.5 on, the first has 0.5 and 1.5, the second 2.5.
    assert items["vector"][1].tolist() == [[1, 1], [1, 1]]
    assert items["vector"][3].tolist() == [[1, 2], [0, 0]]
    for part in ("train", "valid", "test"):
        rows = ("u0|i0|i1", "u1|i0 i1|i2", "u2|i0 i1 i2|i3")
        write_atomic("split", f"{part}.inter", "user_id:token|item_id_list:token_seq|item_id:token", *rows)
    settings = dict(
        benchmark_filename=["train", "valid", "test"], alias_of_item_id=["item_id_list"], load_col=None,
        train_neg_sample_args=None, MAX_ITEM_LIST_LENGTH=3,
    )  # fmt: skip
    dataset = create_dataset(small_config("GRU4Rec", "split", **settings))
    assert dataset.inter_feat["item_length"].tolist() == [1, 2, 3] * 3


def check_writable_columns() -> None:
    from recbole.data import create_dataset
    from recbole.data.interaction import Interaction

    dataset = create_dataset(small_config())
    frame = dataset.inter_feat
    for converted in (dataset._dataframe_to_interaction(frame), Interaction(frame)):
        converted["user_id"][0] = 7
        assert frame["user_id"][0] == 1 or frame["user_id"].values.flags.writeable


def check_dok_update() -> None:
    """Each model's graph of two users and three items with the edges (0, 0), (0, 1), (1, 2), against numpy.

    RecBole adds 1e-7 to degrees of 1 and 2, in float32: both move an entry by less than 1e-6.
    """
    from recbole.model import general_recommender as general
    from recbole.model import knowledge_aware_recommender as knowledge_aware

    ratings = scipy.sparse.coo_matrix(([1.0, 1.0, 1.0], ([0, 0, 1], [0, 1, 2])), shape=(2, 3))
    model = SimpleNamespace(n_users=2, n_items=3, n_entities=3, device="cpu", sparse_norm_adj=None)
    model.interaction_matrix = model.inter_matrix = ratings
    model.get_eye_mat = lambda size: torch.eye(size).to_sparse()
    adjacency = np.zeros((5, 5))
    adjacency[:2, 2:], adjacency[2:, :2] = ratings.toarray(), ratings.toarray().T
    degree = adjacency.sum(axis=1)
    symmetric = adjacency / np.sqrt(np.outer(degree, degree))
    for graph in (general.LightGCN, general.NGCF, general.GCMC, general.NCL):
        np.testing.assert_allclose(graph.get_norm_adj_mat(model).to_dense(), symmetric, atol=1e-6)
    laplacian = np.eye(5) - adjacency / degree[:, None]
    found = general.SpectralCF.get_laplacian_matrix(model).to_dense()
    np.testing.assert_allclose(found, laplacian, atol=1e-6)
    for graph in (knowledge_aware.KGIN, knowledge_aware.MCCLK):
        np.testing.assert_allclose(graph.get_norm_inter_matrix(model)[1].to_dense(), symmetric, atol=1e-6)


def check_checkpoint_loading() -> None:
    from recbole.data import create_dataset, data_preparation
    from recbole.model.general_recommender import BPR, ConvNCF
    from recbole.quick_start import load_data_and_model
    from recbole.trainer import Trainer

    config = small_config()
    train, valid, test = data_preparation(config, create_dataset(config))
    model = BPR(config, train.dataset)
    trainer = Trainer(config, model)
    trainer.fit(train, valid, verbose=False)
    saved = trainer.saved_model_file
    metrics = trainer.evaluate(test, load_best_model=True)
    resumed = Trainer(config, BPR(config, train.dataset))
    resumed.resume_checkpoint(saved)
    assert resumed.start_epoch == 1
    assert resumed.evaluate(test, load_best_model=False) == metrics
    loaded = load_data_and_model(saved)[1]
    assert torch.equal(loaded.item_embedding.weight, model.item_embedding.weight)
    config = small_config("ConvNCF", train_method="after_pretrain", pre_model_path=saved, trust_pickle=True)
    pretrained = ConvNCF(config, train.dataset)
    assert torch.equal(pretrained.item_embedding.weight, model.item_embedding.weight)


def check_list_choices() -> None:
    from recbole.trainer import HyperTuning

    def score(params: dict, _config_files) -> dict:
        value = params["a"][0]
        return dict(best_valid_score=value, best_valid_result={}, test_result={}, model="BPR", valid_score_bigger=True)

    tuning = HyperTuning(score, params_dict={"choice": {"a": [[1, 4], [3, 2], [2, 3]]}}, algo="exhaustive")
    tuning.run()
    assert sorted(tuning.score_list) == [1, 2, 3]


def check_hyperopt_generator() -> None:
    from recbole.trainer import HyperTuning

    def score(params: dict, _config_files) -> dict:
        value = params["a"] * params["b"]
        found = dict(best_valid_score=value, best_valid_result={"a": value}, test_result={"a": value})
        return dict(found, model="BPR", valid_score_bigger=True)

    tuning = HyperTuning(score, params_dict={"choice": {"a": [1, 2], "b": [3, 5]}}, algo="exhaustive")
    tuning.run()
    assert tuning.best_score == 10
    assert sorted(tuning.score_list) == [3, 5, 6, 10]


# Per fix: its check, and what RecBole raises in it where only this fix is left out.
CHECKS = {
    "anomaly_detection": (check_anomaly_detection, "AssertionError"),
    "numpy_aliases": (check_numpy_aliases, "AttributeError: `np.float_` was removed"),
    "numpy_names": (check_numpy_names, "AttributeError: module 'numpy' has no attribute 'float'"),
    "chained_fillna": (check_chained_fillna, "AttributeError: 'float' object has no attribute 'split'"),
    "elementwise_len": (check_elementwise_len, "ValueError: Length of values"),
    "writable_columns": (check_writable_columns, "AssertionError"),
    "dok_update": (check_dok_update, "AttributeError: 'dok_matrix' object has no attribute '_update'"),
    "checkpoint_loading": (check_checkpoint_loading, "UnpicklingError: Weights only load failed"),
    "list_choices": (check_list_choices, "AttributeError: 'Apply' object has no attribute 'obj'"),
    "hyperopt_generator": (check_hyperopt_generator, "AttributeError: 'numpy.random.mtrand.RandomState'"),
}


def libraries_touched() -> list[str]:
    """What ``apply()``, and after it a ``Config``, changes in the libraries and in the process: names."""
    from ray import tune

    compat = unapplied_compat()  # imports RecBole, and with it what the libraries load lazily
    classes = [np.ndarray, pd.DataFrame, pd.Series, scipy.sparse.dok_matrix]
    watched = [np, pd, scipy, scipy.sparse, torch, torch.serialization, tune, *classes]
    before = [dict(vars(owner)) for owner in watched], dict(os.environ), list(warnings.filters)
    compat.apply()
    process_changed = (dict(os.environ), list(warnings.filters)) != before[1:]
    small_config()
    changed = ["process"] if process_changed else []
    for owner, contents in zip(watched, before[0], strict=True):
        now = vars(owner)
        changed += [f"{owner.__name__}.{n}" for n in {*now, *contents} if now.get(n) is not contents.get(n)]
    return [name for name in changed if not name.endswith("__warningregistry__")]  # Python's own book-keeping


def metrics_with_recbole_first() -> dict:
    """RecBole imported by name, then us: the test metrics of a training and of its checkpoint."""
    from recbole.model.general_recommender import LightGCN
    from recbole.quick_start import load_data_and_model, run_recbole
    from recbole.trainer import Trainer

    import recbole_mm  # noqa: F401

    small_config()
    trained = run_recbole(model="LightGCN", dataset="tiny", config_dict=dict(QUICK))["test_result"]
    saved = str(next(Path("saved").glob("LightGCN*.pth")))
    config, model, _, _, _, test = load_data_and_model(saved)
    assert type(model) is LightGCN
    evaluated = Trainer(config, model).evaluate(test, load_best_model=True, model_file=saved)
    return dict(trained=dict(trained), evaluated=dict(evaluated))


def failure_without(name: str) -> str:
    """What the check of a fix raises where every other fix is applied; empty: nothing."""
    for fix in unapplied_compat().FIXES:
        if fix.__name__ != name:
            fix()
    if name != "chained_fillna":  # empty cells are filled by the reader of files that comes after them
        import_module("recbole_mm.host.atomic_files").apply()
    try:
        CHECKS[name][0]()
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return ""


def in_own_folder(call: tuple):
    """Run one function with its arguments in an empty working directory."""
    os.chdir(tempfile.mkdtemp(dir="."))
    return call[0](*call[1:])


if __name__ == "__main__":
    import recbole.quick_start  # noqa: F401  once, for all the copies of this process

    calls = {name: (failure_without, name) for name in CHECKS}
    calls |= {call.__name__: (call,) for call in (libraries_touched, metrics_with_recbole_first)}
    with multiprocessing.get_context("fork").Pool(1, maxtasksperchild=1) as pool:
        print(json.dumps(dict(zip(calls, pool.map(in_own_folder, calls.values(), chunksize=1), strict=True))))
