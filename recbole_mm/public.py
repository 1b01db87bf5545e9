"""What authors of plugins need, and scripts: each is a name of ``recbole_mm`` itself."""

from recbole_mm.analysis.command import checkpoint_labels, write_csv
from recbole_mm.analysis.figures import save_figure
from recbole_mm.data.conversion.layout import Converter, Features, Interactions, Items
from recbole_mm.encoder.content_encoder import ContentEncoder
from recbole_mm.graph import SparseOperator
from recbole_mm.host.evaluations import evaluation_callback
from recbole_mm.load import OpenedCheckpoint, open_checkpoint
from recbole_mm.model.backbone_model import BackboneModel, BackboneModelSettings
from recbole_mm.model.base import MultimodalRecommender
from recbole_mm.model.closed_form import ClosedFormRecommender, ItemVectors, ItemWeights
from recbole_mm.model.features import FeatureTables
from recbole_mm.model.graphs import GraphRecommender
from recbole_mm.model.late_fusion import LateFusionRecommender
from recbole_mm.model.projections import ModalityProjections
from recbole_mm.model.settings import LateFusionSettings, ModelSettings
from recbole_mm.nn.feature_adapter import AdapterSettings, FeatureAdapter
from recbole_mm.nn.loss import bpr_loss
from recbole_mm.nn.propagation import light_gcn
from recbole_mm.nn.user_embedding import id_table
from recbole_mm.quick_start import run
from recbole_mm.registry import (
    ADAPTERS,
    ANALYSES,
    CONVERTERS,
    ENCODERS,
    MODELS,
    PROPAGATIONS,
    TRAINERS,
    TUNINGS,
    register_adapter,
    register_analysis,
    register_converter,
    register_encoder,
    register_model,
    register_propagation,
    register_trainer,
    register_tuning,
)
from recbole_mm.setting_conditions import acts_where
from recbole_mm.settings import (
    Count,
    CountOrZero,
    Counts,
    Layers,
    LayersOrZero,
    Names,
    Positive,
    PositiveShare,
    Rate,
    Real,
    Settings,
    Share,
    Weight,
    Weights,
    Width,
)
from recbole_mm.trainer.staged import StagedTrainer
from recbole_mm.trainer.trainer import MultimodalTrainer

__all__ = [
    "ADAPTERS",
    "ANALYSES",
    "CONVERTERS",
    "ENCODERS",
    "MODELS",
    "PROPAGATIONS",
    "TRAINERS",
    "TUNINGS",
    "AdapterSettings",
    "BackboneModel",
    "BackboneModelSettings",
    "ClosedFormRecommender",
    "ContentEncoder",
    "Converter",
    "Count",
    "CountOrZero",
    "Counts",
    "FeatureAdapter",
    "FeatureTables",
    "Features",
    "GraphRecommender",
    "Interactions",
    "ItemVectors",
    "ItemWeights",
    "Items",
    "LateFusionRecommender",
    "LateFusionSettings",
    "Layers",
    "LayersOrZero",
    "ModalityProjections",
    "ModelSettings",
    "MultimodalRecommender",
    "MultimodalTrainer",
    "Names",
    "OpenedCheckpoint",
    "Positive",
    "PositiveShare",
    "Rate",
    "Real",
    "Settings",
    "Share",
    "SparseOperator",
    "StagedTrainer",
    "Weight",
    "Weights",
    "Width",
    "acts_where",
    "bpr_loss",
    "checkpoint_labels",
    "evaluation_callback",
    "id_table",
    "light_gcn",
    "open_checkpoint",
    "register_adapter",
    "register_analysis",
    "register_converter",
    "register_encoder",
    "register_model",
    "register_propagation",
    "register_trainer",
    "register_tuning",
    "run",
    "save_figure",
    "write_csv",
]
