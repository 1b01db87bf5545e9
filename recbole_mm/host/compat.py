"""What unmodified RecBole 1.2.1 needs on today's numpy, pandas, scipy, torch, ray and hyperopt.

Each fix exchanges a few characters inside the RecBole function that no longer runs and recompiles it in place
(:func:`recbole_mm.host.mend.mend`). numpy, pandas, scipy, torch, ray and the environment of the process stay as they
are, so no other package can notice, and whoever imported a RecBole function or class before us runs the mended one.
Every fix asks the installed library whether it is needed: with those of RecBole's own time only what concerns torch
is, and two slips of RecBole's search. Line numbers are RecBole 1.2.1's.

RecBole is imported for it, quick_start included, without what few runs need of it (:mod:`recbole_mm.host.deferred`).
"""

from __future__ import annotations

import importlib
import io
import sys
import warnings
from functools import cache
from pickle import UnpicklingError
from types import SimpleNamespace

import numpy
import pandas
import torch
from recbole.config import Config
from recbole.data import interaction
from recbole.data.dataset import Dataset, KnowledgeBasedDataset, SequentialDataset
from recbole.evaluator import metrics
from recbole.model import context_aware_recommender as context_aware
from recbole.model import general_recommender as general
from recbole.model import knowledge_aware_recommender as knowledge_aware
from recbole.quick_start import load_data_and_model, objective_function
from recbole.trainer import HyperTuning, Trainer
from recbole.trainer.hyper_tuning import _parameters, exhaustive_search
from scipy.sparse import dok_matrix

from recbole_mm.host.mend import mend, mend_each


@cache
def apply() -> list[str]:
    """Mend what the installed libraries need mended in RecBole; a second call changes nothing.

    Returns the names of the fixes applied, in the order of :data:`FIXES`.
    """
    return [fix.__name__ for fix in FIXES if fix()]


def anomaly_detection() -> bool:
    """model/sequential_recommender/sine.py:25: its import makes autograd look for NaN after each operation.

    RecBole imports that folder when it looks for a model there, and from then on trains anything several
    times slower. It is imported here instead, and the process left as it was before that folder came.
    """
    sine = "recbole.model.sequential_recommender.sine"
    wanted = torch.is_anomaly_enabled() and sine not in sys.modules
    importlib.import_module(sine)
    if wanted or not torch.is_anomaly_enabled():
        return False
    torch.autograd.set_detect_anomaly(False)
    return True


def numpy_aliases() -> bool:
    """config/configurator.py:628-635: each ``Config()`` sets ``np.float = np.float_`` and the like.

    numpy 2 has no ``np.float_``; nothing is set there. What RecBole reads of the names: :func:`numpy_names`.
    """
    if hasattr(numpy, "float_"):
        return False
    Config.compatibility_settings = lambda config: None
    return True


def numpy_names() -> bool:
    """``np.float`` and ``np.str``, without :func:`numpy_aliases`' setting them, become ``float`` and ``str``.

    evaluator/metrics.py:90, 128, 131, 190, 196; data/interaction.py:31; data/dataset/dataset.py:652;
    trainer/hyper_tuning.py:386.
    """
    if hasattr(numpy, "float_"):
        return False
    return any([
        mend_each((m.metric_info for m in (metrics.MRR, metrics.MAP, metrics.NDCG)), "np.float)", "float)"),
        mend(interaction._convert_to_tensor, "np.float,", "float,"),
        mend(Dataset._fill_nan, "else np.float\n", "else float\n"),
        mend(HyperTuning.plot_hyper, "dtype=np.str)", "dtype=str)"),
    ])


def chained_fillna() -> bool:
    """``feat[field].fillna(..., inplace=True)`` fills a copy since pandas 3.

    data/dataset/dataset.py:648, 650: a missing token became id -9223372036854775808, a missing float NaN.
    """
    frame = pandas.DataFrame({"value": [None, 1.0]})
    with warnings.catch_warnings(action="ignore"):  # pandas 2 and 3 both warn of what is tried out here
        frame["value"].fillna(0.0, inplace=True)
    if frame["value"].notna().all():
        return False
    in_place, assigned = "{0}.fillna(value={1}, inplace=True)", "{0} = {0}.fillna(value={1})"
    fills = (
        (Dataset._fill_nan, "feat[field]", "0"),
        (Dataset._fill_nan, "feat[field]", "feat[field].mean()"),
    )
    return any([mend(method, in_place.format(*text), assigned.format(*text)) for method, *text in fills])


def elementwise_len() -> bool:
    """``feat[field].agg(len)``, the length of each sequence, is the length of the column since pandas 3.

    data/dataset/dataset.py:712, 792, 809, 1217 and data/dataset/kg_dataset.py:316: any sequence field ended
    in a ValueError; data/dataset/sequential_dataset.py:165: pre-split sequences silently got wrong lengths.
    """
    with warnings.catch_warnings(action="ignore"):  # pandas 2 announces the change
        if isinstance(pandas.Series(["ab"]).agg(len), pandas.Series):
            return False
    methods = (
        *(Dataset._normalize, Dataset._discretization, Dataset._remap),
        KnowledgeBasedDataset._reset_ent_remapID,
        SequentialDataset._benchmark_presets,
    )
    return mend_each(methods, ".agg(len)", ".map(len)")


def writable_columns() -> bool:
    """Tensors over the memory of a column, which pandas 3 hands out read-only, get memory of their own.

    data/dataset/dataset.py:2199, data/interaction.py:113. torch warns that writing to such a tensor, as users
    of an Interaction may, is undefined.
    """
    if pandas.Series([1]).values.flags.writeable:
        return False
    return any([
        mend(Dataset._dataframe_to_interaction, "data[k].values", "data[k].to_numpy(copy=True)"),
        mend(interaction.Interaction.__init__, "[key].values", "[key].to_numpy(copy=True)"),
    ])


def dok_update() -> bool:
    """``dok_matrix._update`` is gone since scipy 1.13.

    model/general_recommender/: lightgcn.py:111, ngcf.py:110, gcmc.py:174, ncl.py:131, spectralcf.py:123;
    model/knowledge_aware_recommender/: kgin.py:356, mcclk.py:425.
    """
    if hasattr(dok_matrix, "_update"):
        return False
    methods = (
        *(model.get_norm_adj_mat for model in (general.LightGCN, general.NGCF, general.GCMC, general.NCL)),
        general.SpectralCF.get_laplacian_matrix,
        knowledge_aware.KGIN.get_norm_inter_matrix,
        knowledge_aware.MCCLK.get_norm_inter_matrix,
    )
    # setdefault is the public way in that does not check every entry; A is empty, so it sets all of them.
    fill = "for edge, value in data_dict.items(): A.setdefault(edge, value)"
    return mend_each(methods, "A._update(data_dict)", fill)


def checkpoint_loading() -> bool:
    """torch since 2.6 loads weights only; RecBole's checkpoints hold its ``Config``, in pickle protocol 4.

    That loader does not read protocol 4, so allowing it more classes cannot help.
    trainer/trainer.py:323, 583; quick_start/quick_start.py:250; pretrained parts of models, under model/:
    convncf.py:82, nais.py:127, ract.py:75, 84, neumf.py:84, 85, kd_dagfm.py:56, s3rec.py:120.
    """
    if not _refuses_checkpoints():
        return False
    from recbole.model.sequential_recommender import S3Rec  # not before anomaly_detection

    loaders = (
        *(Trainer.resume_checkpoint, Trainer.evaluate, load_data_and_model, general.ConvNCF.__init__),
        *(general.NAIS._load_pretrain, general.RaCT.__init__, general.NeuMF.load_pretrain),
        *(context_aware.KD_DAGFM.__init__, S3Rec.__init__),
    )
    return mend_each(loaders, "torch.load(", "torch.load(weights_only=False, f=")


def _refuses_checkpoints() -> bool:
    checkpoint = io.BytesIO()
    torch.save(SimpleNamespace(), checkpoint, pickle_protocol=4)
    checkpoint.seek(0)
    with warnings.catch_warnings(action="ignore"):  # torch 2.4 announces the change, 2.6 remarks
        try:
            torch.load(checkpoint)
        except UnpicklingError:
            return True
    return False


def ray_report() -> bool:
    """quick_start/quick_start.py:223: ``tune.report(**test_result)``; today's ray wants one dictionary.

    That of RecBole's time has no such parameter; ray is asked where it reports, and not imported here. Outside a Ray
    session, as under ``HyperTuning``, it would only warn that there is nobody to report to: where nobody has imported
    it, it is not for that, as it does not import while hyperopt's progress bar stands for ``sys.stdout``.
    """
    takes_one = '"metrics" in __import__("inspect").signature(tune.report).parameters'
    report = (
        '"ray.tune" in __import__("sys").modules and '
        f'tune.report(**({{"metrics": dict(test_result)}} if {takes_one} else test_result))'
    )
    return mend(objective_function, "tune.report(**test_result)", report)


def hyperopt_generator() -> bool:
    """trainer/hyper_tuning.py:117: exhaustive search draws from a ``RandomState``.

    hyperopt since 0.2.7 wants a ``Generator``. Its own ``rng_from_seed`` makes what it wants, in 0.2.5 the
    ``RandomState`` of RecBole's line; so this holds for both, and hyperopt is not imported here to ask.
    """
    return mend(exhaustive_search, "np.random.RandomState(seed)", "pyll.stochastic.rng_from_seed(seed)")


def list_choices() -> bool:
    """trainer/hyper_tuning.py:54: counting choices fails where one is a list, as modality weights are."""
    return mend(_parameters, "[literal.obj for literal in", "[literal for literal in")


FIXES = (
    *(anomaly_detection, numpy_aliases, numpy_names, chained_fillna, elementwise_len, writable_columns),
    *(dok_update, checkpoint_loading, ray_report, hyperopt_generator, list_choices),
)
