"""RecBole's metrics of coverage, popularity and diversity: three crash in 1.2.1, three have other values than said.

ItemCoverage, AveragePopularity, ShannonEntropy, GiniIndex and TailPercentage. Line numbers are RecBole 1.2.1's.
"""

from __future__ import annotations

from functools import cache

from recbole.evaluator import metrics
from recbole.evaluator.collector import Collector

from recbole_mm.host.mend import mend


@cache
def apply() -> None:
    """Mend the metrics. Called once, at import."""
    collect_plain_values()
    leave_padding_out()
    entropy()
    tail_items()


def collect_plain_values() -> None:
    """evaluator/collector.py:227: numbers of items and counts of interactions are no tensors with a ``cpu()``."""
    value = "self.data_struct._data_dict[key]"
    mend(
        Collector.get_data_struct,
        f"{value} = {value}.cpu()",
        f"{value} = {value}.cpu() if isinstance({value}, torch.Tensor) else {value}",
    )


def leave_padding_out() -> None:
    """evaluator/collector.py:87: the number of items has [PAD] in it, which nobody is recommended.

    A recommender of every item had an ItemCoverage below 1, one of all items equally often a GiniIndex above 0.
    """
    mend(Collector.data_collect, "train_data.dataset.num(item_id)", "train_data.dataset.num(item_id) - 1")


def entropy() -> None:
    """evaluator/metrics.py:630: ShannonEntropy is divided by the number of recommended items, against its formula."""
    mend(metrics.ShannonEntropy.get_entropy, "return result / len(item_count)", "return result")


def tail_items() -> None:
    """evaluator/metrics.py:738, 743: every recommended item is looked for in a list, which takes minutes."""
    for items in ("item for item, cnt in count_items.items() if cnt <= self.tail", "item for item, cnt in count_items"):
        mend(metrics.TailPercentage.get_tail, f"[{items}]", f"{{{items}}}")
