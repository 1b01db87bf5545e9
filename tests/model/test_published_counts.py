"""Parameter counts that are published or printed by public code, at the sizes of Sports, Clothing and TikTok.

Those of Baby stand beside each model's other tests. Models are built with features of 8 columns; what a column more
costs is the model's own formula.
"""

from __future__ import annotations

import pytest

from tests.shape_only import build, count_parameters

SIZES = {"Sports": (35_598, 18_357), "Clothing": (39_387, 23_033), "TikTok": (9_308, 6_710)}
COLUMNS = 4096 + 384
TRANSFORMS = (COLUMNS + 2) * 64  # two layers of 64 on the features, which public code makes and nothing reads


def never_read_by_mentor(n_items: int) -> int:
    """Copies of the features, layers on them, weights of items and a user layer."""
    return COLUMNS * n_items + TRANSFORMS + 2 * n_items + 128 * 64 + 64


COUNTS = {  # by model and size: what is published, what nothing reads of that, and what a feature column costs
    ("PGL", "Sports"): (87_082_752, 0, 18_357 + 64),
    ("PGL", "Clothing"): (108_516_224, 0, 23_033 + 64),
    ("GUME", "Sports"): (90_556_736, 0, 18_357 + 64),
    ("GUME", "Clothing"): (112_531_968, 0, 23_033 + 64),
    ("MENTOR", "Sports"): (103_355_590, never_read_by_mentor(18_357), 3 * 256),
    ("MENTOR", "Clothing"): (126_317_736, never_read_by_mentor(23_033), 3 * 256),
    ("COHESION", "Sports"): (91_533_596, COLUMNS * 18_357, 256),
    ("COHESION", "Clothing"): (113_516_406, COLUMNS * 23_033, 256),
    ("MMSSL", "Sports"): (3_756_352, 0, 64),
    ("MMSSL", "Clothing"): (4_298_112, 0, 64),
    ("DAMRS", "Sports"): (3_453_120, 0, 0),
    ("DAMRS", "Clothing"): (3_994_880, 0, 0),
    ("DAMRS", "TikTok"): (1_025_152, 0, 0),
}
WITHOUT_CRITIC = {"MMSSL": {"adversarial_weight": 0.0}}  # whose layers are of the square of the items


@pytest.fixture(scope="module")
def graph_dir(tmp_path_factory):
    """Item graphs, which models of the same features share."""
    return tmp_path_factory.mktemp("graphs")


@pytest.mark.slow
@pytest.mark.xdist_group("published counts")
@pytest.mark.parametrize(("model", "size"), COUNTS)
def test_counts(tmp_path, graph_dir, model, size):
    published, never_read, per_column = COUNTS[model, size]
    n_users, n_items = SIZES[size]
    shape = {"n_users": n_users, "n_items": n_items, "widths": {"visual": 8, "textual": 8}}
    built = build(model, shape, tmp_path, graph_dir=str(graph_dir), **WITHOUT_CRITIC.get(model, {}))
    critic = getattr(built, "critic", None)
    of_critic = 0 if critic is None else sum(p.numel() for p in critic.parameters())
    assert count_parameters(built) - of_critic + (COLUMNS - 16) * per_column + never_read == published


def test_a_denoiser_of_diffmm_on_tiktok(tmp_path):
    n_users, n_items = SIZES["TikTok"]
    shape = {"n_users": n_users, "n_items": n_items, "widths": {"visual": 8}}
    model = build("DiffMM", shape, tmp_path, contrast="final")
    assert sum(p.numel() for p in model.denoisers[0].parameters()) == 13_437_820
