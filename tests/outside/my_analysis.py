"""An analysis in one file outside the package: how long the item vectors are."""

import torch

from recbole_mm import checkpoint_labels, register_analysis, write_csv


def options(parser):
    """``--longest N``."""
    parser.add_argument("--longest", type=int, default=3, help="items to write (default: %(default)s)")


@register_analysis("item-lengths", help="items with the longest vectors", options=options)
def item_lengths(checkpoints, arguments):
    """Write `item-lengths.csv`; gives its path."""
    rows = []
    for label, opened in zip(checkpoint_labels(checkpoints), checkpoints, strict=True):
        with torch.no_grad():
            lengths = opened.model.score_tables()[1].norm(dim=1)[1:]  # without [PAD]
        names = opened.dataset.field2id_token[opened.dataset.iid_field][1:]
        longest = lengths.topk(arguments.longest).indices
        rows += [(label, names[item], lengths[item].item()) for item in longest.tolist()]
    file = arguments.out / "item-lengths.csv"
    write_csv(file, ["checkpoint", "item", "length"], rows)
    return [file]
