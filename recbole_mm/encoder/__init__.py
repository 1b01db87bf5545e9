"""Pretrained encoders that make modality features of raw content."""

from recbole_mm.encoder.auto import load_image_encoder, load_sound_encoder, load_text_encoder
from recbole_mm.encoder.content_encoder import ContentEncoder
from recbole_mm.encoder.dual_encoder import DualEncoder
from recbole_mm.encoder.image_encoder import ImageEncoder
from recbole_mm.encoder.load import load_encoder
from recbole_mm.encoder.load_dual import load_dual_encoder
from recbole_mm.encoder.tuned_tower import TunedTower
from recbole_mm.encoder.tuning import TuningSettings, tune
from recbole_mm.io.pictures import PictureError, open_picture

__all__ = [
    "ContentEncoder",
    "DualEncoder",
    "ImageEncoder",
    "PictureError",
    "TunedTower",
    "TuningSettings",
    "load_dual_encoder",
    "load_encoder",
    "load_image_encoder",
    "load_sound_encoder",
    "load_text_encoder",
    "open_picture",
    "tune",
]
