"""Variants of a model side by side, over seeds: ``python benchmarks/compare.py margo --data FOLDER --dataset tiktok``.

Means and standard deviations over the seeds, the change against the first row of a block, and a paired t-test over the
test users (their NDCG@20, averaged over the seeds) against it. Runs are those of `quality.py`, stored and resumed
there. Values per user stay on the machine that made them: without them a row has no p.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import harness
import numpy as np
from machine import versions
from quality import BEGINS_WITH, add_settings, finish, is_of, per_user_file, rows_of
from scipy.stats import ttest_rel

METRICS = ("recall@10", "recall@20", "ndcg@10", "ndcg@20")
ADAPTERS = ("none", "befa", "lora", "soft_prompt")
HOSTS = ("LATTICE", "BM3", "FREEDOM", "MGCN")
LUDP_BASELINES = ("LightGCN", "LATTICE")
Row = tuple[str, str, dict]  # label, model and settings


def margo(modalities: list[str]) -> list[list[Row]]:
    """MARGO's ablations (its paper's Table 3), and its backbone's own run, against its first stage, the plain sum.

    All that have two stages begin the second with the same first one, that of the plain sum.
    """
    stage_one: dict = {"item_weights": False}
    stage_two = {BEGINS_WITH: stage_one}
    alone = [(f"{one} only", "MARGO", {**stage_one, "modalities": [one]}) for one in modalities]
    ablations = [
        ("without weights (stage one alone)", "MARGO", stage_one),
        ("the backbone's own run (DRAGON)", "DRAGON", {}),
        ("MARGO", "MARGO", stage_two),
        ("frozen weights", "MARGO", {**stage_two, "item_weights_learning_rate": 0.0}),
        ("weights at 0.01", "MARGO", {**stage_two, "item_weights_learning_rate": 0.01}),
        ("without calibration", "MARGO", {**stage_two, "calibration_weight": 0.0}),
        ("without two stages", "MARGO", {"two_stage": False}),
        ("without stop-gradient", "MARGO", {**stage_two, "stop_gradient": False}),
        ("without stop-gradient, mean of weights", "MARGO", {**stage_two, "stop_gradient": False, "joint": "mean"}),
    ]
    return [ablations + alone]


def ludp(modalities: list[str]) -> list[list[Row]]:
    """LUDP's variants (its paper's Tables 4 to 6 and the study of k) against LightGCN and LATTICE."""
    alone = [(f"{one} only", "LUDP", {"modalities": [one]}) for one in modalities]
    variants = [
        ("item graph only", "LUDP", {"user_preference": False}),
        ("neither", "LUDP", {"user_preference": False, "item_graph": False}),
        ("sum", "LUDP", {"fusion": "sum"}),
        ("concatenation", "LUDP", {"fusion": "concat"}),
        ("2 item layers", "LUDP", {"n_item_layers": 2}),
        ("3 item layers", "LUDP", {"n_item_layers": 3}),
        ("k = 5", "LUDP", {"knn_k": 5}),
        ("k = 20", "LUDP", {"knn_k": 20}),
        ("k = 50", "LUDP", {"knn_k": 50}),
        ("edges 1 / k", "LUDP", {"item_graph_norm": "BIN"}),
        ("edges by cosine", "LUDP", {"item_graph_norm": "WSYM"}),
        ("all parameters regularised", "LUDP", {"l2_form": "all_parameters", "reg_weight": 1e-5}),
        ("preference as long as the rest", "LUDP", {"preference_scale": 1.0}),
    ]
    baselines = [("LightGCN", "LightGCN", {}), ("LATTICE", "LATTICE", {"feature_adapter": "none"})]  # as in befa()
    return [[*baselines, ("LUDP", "LUDP", {}), *variants, *alone]]


def befa(modalities: list[str]) -> list[list[Row]]:
    """Each host with each feature adapter, on projections that train and that do not, against itself without one."""
    frozen = {"adapter_projections": "frozen", "trainable_features": False}
    own = [(adapter, {"feature_adapter": adapter}) for adapter in ADAPTERS]
    on_frozen = [(f"{name}, frozen projections", {**one, **frozen}) for name, one in own if name != "none"]
    printed = [("befa as printed", {"feature_adapter": "befa", "adapter_form": "paper"})]
    return [
        [(f"{host}, {name}", host, one) for name, one in (*own, *printed, *on_frozen)]
        for host in (*HOSTS, "BeFAHost")
    ]


def ptmrec(modalities: list[str]) -> list[list[Row]]:
    """PTMRec's ways to tune, its ablations and controls on the paper's hosts, each against the frozen encoder.

    The configuration beside the data set names the encoder. Tuning ends when it brings nothing for 5 epochs. From
    scratch, the optimizer steps at each micro-batch: with 12 to a step it would need hundreds of epochs.
    """
    second = {"stage_two_epochs": 30, "stage_two_stopping_step": 5}
    variants: dict[str, dict] = {
        "frozen encoder": {"peft": "none"},
        "prompt": second,
        "LoRA": {"peft": "lora", **second},
        "adapter": {"peft": "adapter", **second},
        "prompt, without transfer": {"transfer_weight": 0.0, **second},
        "prompt, encoder alone": {"tune_backbone": False, **second},
        "second stage, encoder frozen": {"tune_encoder": False, **second},
        "second stage, encoder frozen, without transfer": {"tune_encoder": False, "transfer_weight": 0.0, **second},
        "prompt, joint from scratch": {
            "two_stage": False, "accumulation_steps": 1, "epochs": 30, "stopping_step": 5
        },
    }  # fmt: skip
    return [
        [(f"{host}, {label}", "PTMRec", {"backbone": host, **one}) for label, one in variants.items()]
        for host in ("FREEDOM", "VBPR", "MGCN", "SMORE")
    ]


PLANS = {plan.__name__: plan for plan in (margo, ludp, befa, ptmrec)}


def main() -> int:
    """The command; gives its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("plan", choices=PLANS)
    parser.add_argument("--data", type=Path, required=True, help="folder that holds the data set's folder")
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[2020, 2021, 2022], help="default: %(default)s")
    add_settings(parser)
    parser.add_argument("--per-user", action="store_true", help="train again what has no values per user here")
    parser.add_argument("--table-only", action="store_true", help="train nothing: the table of what has finished")
    arguments = parser.parse_args()
    folder = arguments.data.resolve() / arguments.dataset
    if not folder.is_dir():
        print(f"error: there is no data set {folder}; --data is the folder that holds it", file=sys.stderr)
        return 2
    modalities = sorted(file.suffixes[-2][1:] for file in folder.glob("*.arrow"))
    groups = _with(dict(arguments.set), PLANS[arguments.plan](modalities))
    jobs = [(model, seed, settings) for seed in arguments.seeds for rows in groups for _, model, settings in rows]
    done = arguments.table_only or finish(jobs, folder, per_user=arguments.per_user)
    cells = [cell for rows in groups for cell in _cells(rows, folder, arguments.seeds)]
    header = ["variant", "seeds", *METRICS, "change of ndcg@20", "p", "epochs"]
    name = f"compare-{arguments.plan}-{arguments.dataset}"
    table = harness.table(header, cells)
    here = {key: value for key, value in versions().items() if key != "date"}
    title = f"# {arguments.plan}: variants on {arguments.dataset}"
    changed = "".join(f", {key}: {value}" for key, value in arguments.set)
    unchanged = [label for rows in groups for label, _, _ in rows if label in LUDP_BASELINES]
    if changed and unchanged:
        changed += f" ({' and '.join(unchanged)} without)"
    explanation = EXPLANATION.format(dataset=arguments.dataset, changed=changed)
    path = harness.write_results(name, title, harness.versions_line(here), explanation, table)
    print(f"{table}\n\n{path}")
    return int(not done)


EXPLANATION = """\
Test metrics of {dataset} at the best validation epoch, training items masked, each variant trained to its early stop
with the settings of its yaml{changed}: mean and standard deviation over the seeds. Change and p, of a paired t-test
over the test users' NDCG@20 averaged over the seeds, are against the first row of the same block; where there is
no p, some values per user are on another machine. Where a run begins with the first stage of another, its epochs are
those of stage two."""


def _with(settings: dict, groups: list[list[Row]]) -> list[list[Row]]:
    """Rows with further settings, which the runs that they begin with get too; LUDP's baselines keep theirs."""

    def add(own: dict) -> dict:
        begins_with = {BEGINS_WITH: add(own[BEGINS_WITH])} if BEGINS_WITH in own else {}
        return {**settings, **own, **begins_with}

    return [
        [(label, model, own if label in LUDP_BASELINES else add(own)) for label, model, own in rows] for rows in groups
    ]


Runs = dict[int, tuple[dict, Path]]  # of a variant by seed: its row of results and its values per user


def _cells(rows: list[Row], folder: Path, seeds: list[int]) -> list[list[str]]:
    """One line per variant that has finished with some seed; each compared with the block's first."""
    cells, base, finished = [], None, rows_of(folder)
    for label, model, settings in rows:
        keys = {seed: {"model": model, "seed": seed, "settings": settings} for seed in seeds}
        found = {seed: next((row for row in finished if is_of(row, key)), None) for seed, key in keys.items()}
        runs = {seed: (row, per_user_file(folder, keys[seed])) for seed, row in found.items() if row}
        if not runs:
            continue
        compared = ["", ""] if base is None else _compared(runs, base)
        base = base or runs
        means = [_mean([row["test"][metric] for row, _ in runs.values()]) for metric in METRICS]
        epochs = np.mean([row["epochs"] for row, _ in runs.values()])
        cells.append([label, len(runs), *means, *compared, f"{epochs:.0f}"])
    return cells


def _mean(values: list[float]) -> str:
    spread = f" ± {np.std(values, ddof=1):.4f}" if len(values) > 1 else ""
    return f"{np.mean(values):.4f}{spread}"


def _compared(runs: Runs, base: Runs) -> list[str]:
    """Change of the mean NDCG@20 and its p, over the seeds of both; no p without the values per user of each."""
    seeds = sorted(runs.keys() & base.keys())
    if not seeds:
        return ["", ""]
    own, other = (np.mean([some[seed][0]["test"]["ndcg@20"] for seed in seeds]) for some in (runs, base))
    change = f"{own / other - 1:+.1%}"
    files = [[some[seed][1] for seed in seeds] for some in (runs, base)]
    if not all(file.is_file() for some in files for file in some):
        return [change, ""]
    users, others = (np.mean([np.load(file)["ndcg@20"] for file in some], axis=0) for some in files)
    return [change, f"{ttest_rel(users, others).pvalue:.2g}" if np.any(users != others) else "no user differs"]


if __name__ == "__main__":
    sys.exit(main())
