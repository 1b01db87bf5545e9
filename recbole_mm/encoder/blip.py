"""BLIP, whose files hold one of several models: its towers as those of other dual encoders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor, nn

from recbole_mm.encoder.pretrained import stored_weights

RETRIEVAL, WHOLE = "BlipForImageTextRetrieval", "BlipModel"
WITH_A_TOWER = ("BlipForConditionalGeneration", "BlipForQuestionAnswering")


class BlipRetrieval(nn.Module):
    """Both towers of BLIP's retrieval model, in which images and texts are compared by their projected first tokens."""

    def __init__(self, model: Any):
        super().__init__()
        self.config = model.config
        self.vision_model, self.text_model = model.vision_model, model.text_encoder
        self.visual_projection, self.text_projection = model.vision_proj, model.text_proj

    def get_image_features(self, pixel_values: Tensor) -> Tensor:
        """``[n, width]``, not normalised."""
        return self.visual_projection(self.vision_model(pixel_values=pixel_values).last_hidden_state[:, 0])

    def get_text_features(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """``[n, width]``, not normalised."""
        output = self.text_model(input_ids=input_ids, attention_mask=attention_mask)
        return self.text_projection(output.last_hidden_state[:, 0])


def load_blip(folder: Path, config: Any) -> Any:
    """The dual encoder of a BLIP folder, or the image tower of one that writes captions or answers."""
    import transformers

    kind = next(iter(config.architectures or ()), WHOLE)
    if kind == RETRIEVAL:
        return BlipRetrieval(stored_weights(transformers.BlipForImageTextRetrieval, folder, config))
    if kind in WITH_A_TOWER:
        return stored_weights(getattr(transformers, kind), folder, config).vision_model
    return stored_weights(transformers.BlipModel, folder, config)
