"""What is no plan: one line with the place in it and what may stand there, before anything runs or is written."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from recbole_mm.__main__ import main
from recbole_mm.testing.toy import write_planted

SEEDS = "give how many, from 1 to 1000, or a list of whole numbers of at least 0 and below 4294967296"
MODELS = r"give names of models, each with settings or without"
SEARCH = "give none, or what is searched, such as {budget: 12"
SWEEP = "give rows or models, each with one key or two and lists of values"
KINDS = "give a list of shuffle, constant, noise, near_one, zero, mean, without, id_only, evaluation, leak"
VALUES = "give keys with lists of values"

BAD = [
    # of no form at all
    ("[1, 2]", "plan.yaml holds no settings"),
    ("just text", "plan.yaml holds no settings"),
    ("", "plan.yaml holds no settings"),
    ("data: [toy", r"plan.yaml is no yaml: line 1, column 11"),
    ("data: &a [*a]\nmodels: [BPR]", "plan.yaml means more than 1000000 values"),
    ("models: [!!python/object/apply:os.system [x]]", "plan.yaml is no yaml: line 1, column 10"),
    ("3: 4", "plan.yaml: 3 is no name of a setting"),
    ("models: [BPR]\nmodels: [BPR]", "line 2, column 1: the key 'models' stands there twice"),
    # keys
    ("seed: 3", r"plan.yaml: unknown key 'seed' \(did you mean seeds\?\); a plan has data"),
    ("Seeds: 3", r"plan.yaml: unknown key 'Seeds' \(did you mean seeds\?\); a plan has data"),
    ("epochs: 3", r"unknown key 'epochs'; it is a setting, and stands under settings \(settings: {epochs: ...}\)"),
    ("asha_grace: 3", "plan.yaml: unknown key 'asha_grace'; it is a setting, and stands under settings"),
    ("budget: 3", r"unknown key 'budget'; it belongs under search \(search: {budget: ...}\)"),
    ("search: {asha_grace: 3}", "search: unknown key 'asha_grace'; it is a setting, and stands under settings"),
    ("search: {seeds: 3}", "search: unknown key 'seeds'; it stands at the plan's own level, beside search"),
    ("search: {budgte: 3}", r"search: unknown key 'budgte' \(did you mean budget\?\); there are budget, method"),
    ("settings: {seeds: 3}", "settings: seeds is not one of these; it stands at the plan's own level"),
    ("settings: {seed: 3}", "settings: seed is not one of these; the plan's own key seeds says it"),
    ("settings: {model: BPR}", "settings: model is not one of these; models stand under models"),
    ("settings: {label: x}", "settings: label is not one of these; it is a row's"),
    ("settings: {1: 2}", "settings: 1 is no name of a setting"),
    ("settings: {checkpoint_dir: x}", "settings: checkpoint_dir is not one of these; the experiment keeps its own"),
    ("settings: {knnk: 5}\nmodels: [FREEDOM]", r"plan.yaml: settings: unknown key 'knnk' \(did you mean knn_k\?\)"),
    # data sets
    ("data: null", "data: entry 1: nothing is not allowed; give names of data sets"),
    ("data: []", r"data: \[\] is not allowed; give names of data sets"),
    ("data: 3", "data: entry 1: 3 is not allowed; give names of data sets"),
    ("data: [{toy: 3}]", "data: entry 1: 3 is not allowed; give names of data sets"),
    ("data: [{toy: {}, more: {}}]", "data: entry 1: .* is not allowed; give names of data sets"),
    ("data: [toy, toy]", "data: toy stands there twice"),
    ("data: [toyz]", "data: toyz: unknown data set 'toyz'"),
    ("data: ['../toy']", r"data: \.\./toy: '\.\./toy' is no name"),
    ("data: [{'': {data_path: DATA}}]", "data: : '' is no name"),
    ("data: [{toy: {data_path: 3}}]", "data: toy: data_path: 3 is not allowed; give a folder"),
    ("data: [{toy: {data_path: [a]}}]", r"data: toy: data_path: \['a'\] is not allowed; give a folder"),
    ("data: [{toys: {data_path: DATA}}]", "data: toys: there is no folder .*toys"),
    ("data: [{toy: {data_path: DATA, epochs: no}}]", "plan.yaml: data: toy: epochs: False is not allowed"),
    # rows
    ("models: null", f"models: entry 1: nothing is not allowed; {MODELS}"),
    ("models: []", rf"models: \[\] is not allowed; {MODELS}"),
    ("models: 3", f"models: entry 1: 3 is not allowed; {MODELS}"),
    ("models: [BPR, [BPR]]", rf"models: entry 2: \['BPR'\] is not allowed; {MODELS}"),
    ("models: {BPR: {}, LightGCN: {}}", f"models: entry 1: .* is not allowed; {MODELS}"),
    ("models: [{LightGCN: {n_layers: 1}, label: x}]", f"models: entry 1: .* is not allowed; {MODELS}"),
    ("models: [{BPR: [1]}]", rf"models: entry 1: \[1\] is not allowed; {MODELS}"),
    ("models: [{BPR: {1: 2}}]", "models: entry 1: 1 is no name of a setting"),
    ("models: [Fredom]", r"models: entry 1 \(Fredom\): unknown model 'Fredom' \(did you mean FREEDOM\?\)"),
    ("models: [Ünïcødé]", r"models: entry 1 \(Ünïcødé\): unknown model"),
    ("models: [{mine: {model: null}}]", r"entry 1 \(mine\): model: None is not allowed; give the name of a model"),
    ("models: [{mine: {model: [BPR]}}]", r"entry 1 \(mine\): model: \['BPR'\] is not allowed; give the name"),
    ("models: [{BPR: {label: null}}]", r"entry 1 \(BPR\): label: None is not allowed; give a text of one line"),
    ("models: [{BPR: {label: ''}}]", r"entry 1 \(BPR\): label: '' is not allowed"),
    ('models: [{BPR: {label: "a\\nb"}}]', r"entry 1 \(BPR\): label: 'a\\nb' is not allowed"),
    ("models: [{BPR: {label: [a]}}]", r"entry 1 \(BPR\): label: \['a'\] is not allowed"),
    ("models: [BPR, BPR]", r"entry 2 \(BPR\): the same row as entry 1 \(BPR\); keep one"),
    ("models: [BPR, {BPR: {label: other}}]", r"entry 2 \(BPR\): the same row as entry 1 \(BPR\); keep one"),
    ("models: [{FREEDOM: {knn_k: 10}}, FREEDOM]", r"entry 2 \(FREEDOM\): the same row as entry 1"),  # its default
    (
        "models: [{FREEDOM: {reg_weight: .1}}, {FREEDOM: {modality_loss_weight: .1}}]",  # its earlier name
        r"entry 2 \(FREEDOM\): the same row as entry 1",
    ),
    ("models: [BPR, {LightGCN: {label: BPR}}]", r"entry 2 \(LightGCN\): another row is called 'BPR'"),
    ("models: [{FREEDOM: {knn: 5}}]", r"entry 1 \(FREEDOM\): unknown key 'knn' \(did you mean knn_k\?\)"),
    (
        "models: [{FREEDOM: {knn_k: [5, 10]}}]",
        r"knn_k: \[5, 10\] is not allowed for FREEDOM; .*; a list of values to choose from needs the plan's key search",
    ),
    (
        "search: {budget: 2}\nmodels: [{FREEDOM: {reg_weight: [0.1, -1]}}]",  # by its earlier name
        r"entry 1 \(FREEDOM\): modality_loss_weight: -1 is not allowed for FREEDOM",
    ),
    ("models: [{FREEDOM: {knn_k: 0}}]", r"entry 1 \(FREEDOM\): knn_k: 0 is not allowed for FREEDOM"),
    ("models: [{LightGCN: {n_layers: {a: 1}}}]", r"entry 1 \(LightGCN\): n_layers: {'a': 1} is not allowed"),
    ("models: [{BPR: {learning_rate: .nan}}]", r"entry 1 \(BPR\): learning_rate: nan is not allowed"),
    ("models: [{BPR: {seed: 3}}]", r"entry 1 \(BPR\): seed is not one of these; the plan's own key seeds"),
    ("models: [{BPR: {data_path: x}}]", r"entry 1 \(BPR\): data_path is not one of these; it is a data set's"),
    ("models: [{BPR: {asha_grace: 3}}]", r"entry 1 \(BPR\): asha_grace is not one of these; it is the same for all"),
    ("models: [{BPR: {eval_args: 3}}]", r"entry 1 \(BPR\): eval_args: 3 is not allowed"),
    ("models: [{VBPR: {eval_args: {mode: uni20}}}]", r"entry 1 \(VBPR\): eval_args: .*give mode: full"),
    ("models: [{VBPR: {modalities: [visuel]}}]", r"modalities: 'visuel' has no file in .*\(did you mean visual\?\)"),
    ("models: [{VBPR: {modalities: []}}]", r"entry 1 \(VBPR\): modalities: VBPR needs features"),
    ("models: [{VBPR: {modalities: [visual, visual]}}]", r"modalities: .*visual stands there twice"),
    ("models: [{VBPR: {knock_out: {visual: shufle}}}]", "knock_out.visual: 'shufle' is not allowed"),
    ("models: [{VBPR: {knock_out: {audio: zero}}}]", "knock_out: 'audio' is no modality in use"),
    # seeds
    ("seeds: abc", f"seeds: 'abc' is not allowed; {SEEDS}"),
    ("seeds: 0", f"seeds: 0 is not allowed; {SEEDS}"),
    ("seeds: true", f"seeds: True is not allowed; {SEEDS}"),
    ("seeds: 1.5", f"seeds: 1.5 is not allowed; {SEEDS}"),
    ("seeds: null", f"seeds: nothing is not allowed; {SEEDS}"),
    ("seeds: 99999999999999", f"seeds: 99999999999999 is not allowed; {SEEDS}"),  # once made a list of them
    ("seeds: {a: 1}", f"seeds: {{'a': 1}} is not allowed; {SEEDS}"),
    ("seeds: [a, b]", f"seeds: entry 1: 'a' is not allowed; {SEEDS}"),
    ("seeds: [4294967296]", f"seeds: entry 1: 4294967296 is not allowed; {SEEDS}"),
    ("seeds: [1, 1]", "seeds: 1 stands there twice; keep one"),
    ("seeds: []", rf"seeds: \[\] is not allowed; {SEEDS}"),
    # the search
    ("search: 3", f"search: 3 is not allowed; {SEARCH}"),
    ("search: true", f"search: True is not allowed; {SEARCH}"),
    ("search: []", rf"search: \[\] is not allowed; {SEARCH}"),
    ("search: asha", f"search: 'asha' is not allowed; {SEARCH}"),
    ("search: {budget: 0}", "search: budget: 0 is not allowed; give a whole number of at least 1"),
    ("search: {budget: true}", "search: budget: True is not allowed"),
    ("search: {budget: 99999999999999999999}", "search: budget: 9+ is not allowed; give .* at most 2147483647"),
    ("search: {method: ASHA}", "search: method: 'ASHA' is not allowed; give asha or random"),
    ("search: {metric: 3}", "search: metric: 3 is not allowed; give a metric that is measured"),
    ("search: {metric: NDCG}", "search: metric: 'NDCG' is not measured; give one of Recall@10, Recall@20, NDCG@10"),
    ("search: {metric: NDCG@20}\ntopk: [5]", "search: metric: 'NDCG@20' is not measured; give one of Recall@5, NDCG@5"),
    ("search: {metric: NDCG@10}\nsettings: {valid_metric: MRR@10}", "search: metric: NDCG@10, and valid_metric is MRR"),
    ("search: {grid: [1]}", rf"search: grid: \[1\] is not allowed; {VALUES}"),
    ("search: {grid: {learning_rate: 0.1}}", f"search: grid: learning_rate: 0.1 is not allowed; {VALUES}"),
    ("search: {grid: {learning_rate: [abc]}}", "search: grid: LightGCN: learning_rate: 'abc' is not allowed"),
    ("search: {grid: {learning_rate: []}}", "search: grid: learning_rate has no values"),
    ("search: {grid: {n_layers: [1, 999]}}", "search: grid: LightGCN: n_layers: 999 is not allowed"),
    ("search: {grid: {3: [1]}}", "search: grid: 3 is no name of a setting"),
    ("search: {grid: {seed: [1, 2]}}", "search: grid: seed is not one of these; the plan's own key seeds"),
    ("search: {grid: {asha_grace: [1]}}", "search: grid: asha_grace is not one of these; it is the same for all rows"),
    ("search: {grid: {epochs: [0]}}", "search: grid: LightGCN: epochs: 0 trains nothing to compare"),
    ("models: [{BPR: {learning_rate: []}}]\nsearch: {budget: 2}", r"entry 1 \(BPR\): learning_rate has no values"),
    ("models: [{LightGCN: {n_layers: [1, 1]}}]\nsearch: {budget: 2}", "n_layers: 1 stands there twice; keep one"),
    ("models: [{LightGCN: {n_layers: [1, {a: 1}]}}]\nsearch: {budget: 2}", "n_layers: {'a': 1} is not allowed"),
    ("models: [{LightGCN: {n_layers: [null]}}]\nsearch: {budget: 2}", r"\(LightGCN\): n_layers: None is not allowed"),
    ("models: [{FREEDOM: {knn_k: [5, 0]}}]\nsearch: {budget: 2}", r"entry 1 \(FREEDOM\): knn_k: 0 is not allowed"),
    ("models: [{VBPR: {modalities: [[visual], [x]]}}]\nsearch: {budget: 2}", r"\(VBPR\): modalities: 'x' has no file"),
    ("models: [{LightGCN: {n_layers: [1, 2]}}]", r"entry 1 \(LightGCN\): n_layers: \[1, 2\] is not allowed"),
    # sweeps
    ("sweep: []", rf"sweep: \[\] is not allowed; {SWEEP}"),
    ("sweep: {POWERec: 3}", f"sweep: POWERec: 3 is not allowed; {SWEEP}"),
    ("sweep: {POWERec: {}}", "sweep: POWERec has 0 keys; give one"),
    ("sweep: {POWERec: {a: [1], b: [1], c: [1]}}", "sweep: POWERec has 3 keys; give one"),
    ("sweep: {Nothing: {a: [1]}}", "sweep: Nothing: unknown model 'Nothing'"),
    (
        "models: [{my row: {model: BPR}}]\nsweep: {my raw: {n_layers: [1]}}",
        r"sweep: my raw: no row is called so \(did you mean my row\?\)",
    ),
    (
        "models: [{a: {model: FREEDOM}}, {b: {model: FREEDOM, knn_k: 3}}]\nsweep: {FREEDOM: {knn_k: [1]}}",
        "sweep: FREEDOM: 2 rows are of this model; name one of them: a, b",
    ),
    ("sweep: {POWERec: []}", rf"sweep: POWERec: \[\] is not allowed; {SWEEP}"),
    ("sweep: {POWERec: [{prompt_num: [1]}, 3]}", f"sweep: POWERec: entry 2: 3 is not allowed; {SWEEP}"),
    ("sweep: {POWERec: [{a: [1], b: [1]}, {b: [2], a: [2]}]}", "sweep: POWERec: a and b stands there twice; keep one"),
    ("sweep: {POWERec: {prompt_num: 3}}", f"sweep: POWERec: entry 1: prompt_num: 3 is not allowed; {SWEEP}"),
    ("sweep: {POWERec: {prompt_num: []}}", "sweep: POWERec: prompt_num has no values"),
    ("sweep: {POWERec: {prompt_num: [0]}}", "sweep: POWERec: prompt_num: 0 is not allowed for POWERec"),
    ("sweep: {POWERec: {prompt_num: [1, true]}}", "sweep: POWERec: prompt_num: 1 stands there twice"),
    ("sweep: {POWERec: {prompt_nun: [1]}}", r"sweep: POWERec: unknown key 'prompt_nun' \(did you mean prompt_num\?\)"),
    ("sweep: {POWERec: {seed: [1, 2]}}", "sweep: POWERec: seed is not one of these; the plan's own key seeds"),
    ("sweep: {POWERec: {metrics: [[Recall]]}}", "sweep: POWERec: metrics is not one of these"),
    # all others
    ("settings: []", r"settings: \[\] is not allowed; give settings of all runs"),
    ("settings: {epochs: 0}", "plan.yaml: settings: epochs: 0 trains nothing to compare; give at least 1"),
    ("settings: {epochs: abc}", "plan.yaml: settings: epochs: 'abc' is not allowed"),
    ("settings: {valid_metric: MRR@10}", "plan.yaml: settings: valid_metric: MRR@10 is not measured"),
    (
        "models: [{PTMRec: {backbone: VBPR, encoder: clip}}]",
        r"models: entry 1 \(PTMRec\): --images: there is no folder .*/toy/images",
    ),
    ("models: [{PTMRec: {backbone: VBPR, encoder: clip, images: none}}]", "--images: there is no folder none"),
    ("audit: shuffle", f"audit: 'shuffle' is not allowed; {KINDS}"),
    ("audit: [shufle]", rf"audit: entry 1: 'shufle' .*did you mean shuffle.*; {KINDS}"),
    ("audit: [shuffle, shuffle]", "audit: shuffle stands there twice"),
    ("audit: [leak]", "audit: no row reads features that could be replaced or leak; leave audit out"),
    ("audit: [evaluation]\nmodels: [VBPR]", "audit: evaluation says when features are replaced; add by what, such as"),
    ("metrics: []", r"metrics: \[\] is not allowed; give a list of metrics"),
    ("metrics: [3]", "metrics: entry 1: 3 is not allowed; give a list of metrics"),
    ("metrics: [Recal]", r"plan.yaml: metrics: there is no metric 'Recal' \(did you mean recall\?\)"),
    ("metrics: [AUC]", r"plan.yaml: metrics: \['AUC'\] are of values"),
    ("metrics: [Recall, recall]", "metrics: recall stands there twice"),
    ("metrics: [ItemCoverage]", "metrics: .* of all users together; give one that is measured user by user"),
    ("topk: [0]", "topk: entry 1: 0 is not allowed; give a list of whole numbers of at least 1"),
    ("topk: [true]", "topk: entry 1: True is not allowed"),
    ("topk: [5, 5]", "topk: 5 stands there twice"),
    ("compare_with: [lightgcn]", r"compare_with: there is no row 'lightgcn' \(did you mean LightGCN\?\)"),
    ("compare_with: [LightGCN, LightGCN]", r"compare_with: .*\(LightGCN stands there twice\)"),
    ("compare_with: {LightGCN: 1}", "compare_with: entry 1: .* is not allowed; give a list of labels"),
]


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return write_planted(tmp_path_factory.mktemp("data"), {"visual": 6, "textual": 4})


def written(data: Path, text: str) -> None:
    """With the keys that a plan needs, where the text is of one and has them not."""
    needed = {"data": "[{toy: {data_path: DATA, benchmark_filename: [train, valid, test]}}]", "models": "[LightGCN]"}
    if re.match(r"[A-Za-z]\w+: ", text) and text != "data: [toy":
        lines = [f"{key}: {value}" for key, value in needed.items() if not re.search(f"^{key}:", text, re.M)]
        text = "\n".join([text, *lines])
    Path("plan.yaml").write_text(text.replace("DATA", f"'{data}'"), encoding="utf-8")


@pytest.mark.parametrize(("text", "message"), BAD, ids=[text.replace("\n", " ") for text, _ in BAD])
def test_what_is_no_plan(data, text, message, capsys):
    written(data, text)
    assert main(["experiment", "plan.yaml", "--out=out"]) == 2
    captured = capsys.readouterr()
    (line,) = captured.err.splitlines()
    assert re.search(message, line), line
    assert "plan.yaml" in line and captured.out == "" and not Path("out").exists()


def test_a_store_of_another_version_is_named_before_anything_runs(data, capsys):
    written(data, "seeds: 1")
    Path("out").mkdir()
    Path("out/store.json").write_text(json.dumps({"version": 99}))
    assert main(["experiment", "plan.yaml", "--out=out", "--resume"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "holds a store of version 99 (store.json), this is for 1" in line
    assert [path.name for path in Path("out").iterdir()] == ["store.json"]
