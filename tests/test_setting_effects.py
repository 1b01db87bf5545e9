"""Keys that are set where nothing reads them are told, each in one line that says what would have it act."""

from __future__ import annotations

import pytest
from recbole.config import Config

from recbole_mm import setting_effects
from recbole_mm.experiment.rows import Row, check_grid
from recbole_mm.host.config import all_settings
from recbole_mm.search_space import read_hyper_file
from recbole_mm.setting_conditions import ActsWhere, acts_where, conditions
from recbole_mm.setting_rules import properties_dir
from recbole_mm.testing.toy import write_planted
from recbole_mm.tuning.search import prepare_search

SPLIT_FILES = {"benchmark_filename": ["train", "valid", "test"]}


@pytest.fixture(autouse=True)
def _every_line_anew():
    setting_effects.warn_once.cache_clear()


@pytest.mark.parametrize(
    ("model", "settings", "line"),
    [
        ("SiBraR", {"central_modality": "visual"}, "central_modality changes nothing where sampling is pairwise; set "
         "sampling to central, or leave central_modality out"),
        ("SiBraR", {"user_hidden_widths": [8]}, "user_hidden_widths changes nothing where user_encoder is rows; set "
         "user_encoder to branch, or leave user_hidden_widths out"),
        ("ContentKNN", {"keep": "none", "k": 4}, "k changes nothing where keep is none; set keep to row or column, "),
        ("PGL", {"svd_rank": 8}, "svd_rank changes nothing where principal_graph is local; set principal_graph to glo"),
        ("MENTOR", {"contrast_weight": 0, "shared_twins": True}, "shared_twins changes nothing where contrast_weight "
         "is 0.0; set contrast_weight to a number above 0, or leave shared_twins out"),
        ("DRAGON", {"prompt_num": 2}, "prompt_num changes nothing where user_embedding is separate; set user_embeddi"),
        ("POWERec", {"propagation": "BPR", "edge_dropout": 0.2}, "edge_dropout changes nothing where propagation is BP"
         "R; set propagation to one over the graph, such as LayerGCN, or leave edge_dropout out"),
        ("MARGO", {"joint": "mean"}, "joint changes nothing where stop_gradient is True; set stop_gradient to False"),
        ("MARGO", {"prompt_num": 2}, "prompt_num changes nothing where user_embedding is separate; set "),
        ("MARGO", {"two_stage": False, "stage_one_epochs": 3}, "stage_one_epochs is a key of a stage that this run has "
         "not: it trains stage two; it changes nothing"),
        ("PTMRec", {"lora_rank": 4}, "lora_rank changes nothing where peft is prompt; set peft to lora, or leave lora"),
        ("PTMRec", {"peft": "none", "stage_two_epochs": 3}, "stage_two_epochs is a key of a stage that this run has n"),
        ("ContentKNN", {"matmul_precision": "bf16"}, "matmul_precision is a key of training, and ContentKNN is solved "
         "in closed form; it changes nothing"),
        ("BPR", {**SPLIT_FILES, "eval_args": {"split": {"RS": [8, 1, 1]}, "order": "TO", "mode": "full"}}, "eval_args: "
         "split, order changes nothing on data that are split already (benchmark_filename); leave it out, or split "),
        ("VBPR", {**SPLIT_FILES, "eval_args": {"order": "RO"}}, "eval_args: order changes nothing on data that are "),
        ("ContentEASE", {"epochs": 5}, "epochs is a key of training, and ContentEASE is solved in closed form; it "),
    ],
)  # fmt: skip
def test_a_key_that_nothing_reads_is_told_once(model, settings, line, caplog):
    for _ in range(2):
        Config(model, "toy", config_dict=settings)
    assert [record.getMessage()[: len(line)] for record in caplog.records] == [line]


@pytest.mark.parametrize(
    ("model", "settings"),
    [
        ("SiBraR", {"sampling": "central", "central_modality": "visual"}),
        ("SiBraR", {}),
        ("VBPR", {**SPLIT_FILES, "eval_args": {"mode": "full"}}),
        ("VBPR", {"eval_args": {"split": {"RS": [8, 1, 1]}, "order": "RO"}}),
        ("POWERec", {"prompt_num": 2, "prompt_pooling": "max"}),
        ("MARGO", {"backbone": "POWERec", "prompt_num": 2}),
        ("MENTOR", {"shared_twins": True}),
        ("PTMRec", {"peft": "lora", "lora_rank": 4, "stage_one_epochs": 3}),
        ("ContentKNN", {"k": 4, "topk": [5], "valid_metric": "Recall@5"}),
    ],
)
def test_a_key_that_is_read_is_not(model, settings, caplog):
    Config(model, "toy", config_dict=settings)
    assert "changes nothing" not in caplog.text


def test_a_class_adds_to_what_it_derives_from():
    def own(key):
        return [(need.key, need.words) for need in conditions(Config("POWERec", "toy").model_class.settings_class, key)]

    assert own("prompt_num") == [("user_embedding", "prompted")]
    assert own("mlp_layers") == own("unknown") == []
    assert acts_where("weight").holds(0.5) and not acts_where("weight").holds(0.0)
    assert isinstance(acts_where("keep", "row"), ActsWhere)


def test_a_search_is_told_of_a_key_that_none_of_its_settings_reads(tmp_path, caplog):
    data = write_planted(tmp_path, {"visual": 4, "textual": 3})
    row = Row("toy", "SiBraR", "SiBraR", {"data_path": str(data)}, {}, place="plan.yaml: models: entry 1 (SiBraR)")
    check_grid(row, {"central_modality": ["interactions", "visual"], "sampling": ["pairwise", "central"]}, row.place)
    check_grid(row, {"user_dropout": [0.1, 0.2]}, row.place)
    assert caplog.messages == [
        "plan.yaml: models: entry 1 (SiBraR): user_dropout changes nothing where user_encoder is rows; set "
        "user_encoder to branch, or leave user_dropout out"
    ]


def test_a_hyper_file_is_told_too(tmp_path, caplog):
    data = write_planted(tmp_path, {"visual": 4, "textual": 3})
    (tmp_path / "run.yaml").write_text(f"data_path: {data}\n")
    ranges = tmp_path / "mine.hyper"
    ranges.write_text("svd_cut choice [0.25,0.5]\nkeep_ratio uniform 0.1,0.5\n")
    prepare_search("PGL", "toy", [str(tmp_path / "run.yaml")], str(ranges))
    assert caplog.messages == [
        f"{ranges}: svd_cut changes nothing where principal_graph is local; set principal_graph to global, or leave "
        "svd_cut out"
    ]


def test_no_key_of_our_own_grids_is_without_effect():
    for file in sorted((properties_dir() / "hyper").glob("*.hyper")):
        config = Config(file.stem, "toy", config_dict={})
        grid = {searched.name: searched.examples for searched in read_hyper_file(file)}
        values = {key: [value] for key, value in all_settings(config).items()}
        assert setting_effects.without_effect(config, grid, {**values, **grid}) == [], file.name
