"""README's picture, from the stored runs: ``python benchmarks/draw_results.py``."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from matplotlib import rc_context
from matplotlib.figure import Figure

from recbole_mm.analysis.figures import STYLE

ROOT = Path(__file__).resolve().parents[1]
PICTURE = ROOT / "docs" / "pictures" / "tiktok.svg"
METRIC = "ndcg@20"
OWN = {"POWERec", "MARGO", "LUDP", "LightGCN", "BPR"}  # the papers at heart, and what all are held against


def main() -> int:
    """Draw test NDCG@20 on TikTok of each model at its published settings, seed 2020."""
    lines = (ROOT / "benchmarks" / "results" / "quality-tiktok.jsonl").read_text(encoding="utf-8").splitlines()
    runs = [json.loads(line) for line in lines]
    values = {run["model"]: run["test"][METRIC] for run in runs if run["seed"] == 2020 and not run["settings"]}
    ordered = sorted(values, key=values.get)
    with rc_context(STYLE):
        figure = Figure(figsize=(7, 0.22 * len(ordered) + 0.7), layout="constrained")
        axes = figure.subplots()
        colours = ["tab:blue" if model in OWN else "lightsteelblue" for model in ordered]
        axes.barh(ordered, [values[model] for model in ordered], color=colours)
        for position, model in enumerate(ordered):
            axes.text(values[model], position, f" {values[model]:.4f}", va="center", fontsize=7)
        axes.set_xlabel("test NDCG@20, one seed")
        axes.tick_params(labelsize=8)
        axes.margins(y=0.01)
        axes.spines[["top", "right"]].set_visible(False)
        figure.savefig(PICTURE, metadata={"Date": None})
    print(PICTURE)
    return 0


if __name__ == "__main__":
    sys.exit(main())
