"""RecBole's simplest recommenders, which every table compares with, made what they say they are."""

from __future__ import annotations

from functools import cache

from recbole.model.general_recommender import Pop, Random

from recbole_mm.host.mend import mend


@cache
def apply() -> None:
    """Mend :class:`Pop` and :class:`Random`. Called once, at import."""
    count_every_interaction()
    draw_items_for_every_user()


def count_every_interaction() -> None:
    """model/general_recommender/pop.py:47: an item counts once a batch there, however often it is in the batch.

    The batch also has sampled negative items, which count as well, so that the ranking changes with seed, batch size
    and number of processes. The training interactions are counted instead, once, when the model is made.
    """
    count = (
        "counter = dataset.item_counter; "
        "self.item_cnt[torch.tensor([*counter]), 0] = torch.tensor([*counter.values()], device=self.device); "
        "self.max_cnt = torch.max(self.item_cnt, dim=0)[0]"
    )
    mend(Pop.__init__, "self.max_cnt = None", count)
    mend(Pop.calculate_loss, "self.item_cnt[item, :] = self.item_cnt[item, :] + 1", "pass")


def draw_items_for_every_user() -> None:
    """model/general_recommender/random.py:44: one draw serves all users of an evaluation batch."""
    mend(Random.full_sort_predict, "torch.rand(self.n_items, 1)", "torch.rand(batch_user_num, self.n_items)")
    mend(Random.full_sort_predict, "torch.repeat_interleave(result.unsqueeze(0), batch_user_num, dim=0)", "result")
