"""Pretrained encoders that make modality features of raw content."""

from recbole_mm.encoder.image_encoder import ImageEncoder
from recbole_mm.encoder.load import load_encoder
from recbole_mm.encoder.picture import PictureError, open_picture

__all__ = ["ImageEncoder", "PictureError", "load_encoder", "open_picture"]
