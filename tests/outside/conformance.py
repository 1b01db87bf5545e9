"""What an author of parts writes to have them tested."""

import my_adapter  # noqa: F401
import my_analysis  # noqa: F401
import my_encoder  # noqa: F401
import my_model  # noqa: F401

from recbole_mm.testing import AdapterConformance, AnalysisConformance, EncoderConformance, ModelConformance


class TestMeanFusion(ModelConformance):
    model = "MeanFusion"


class TestAffine(AdapterConformance):
    adapter = "affine"


class TestItemLengths(AnalysisConformance):
    analysis = "item-lengths"


class TestLetters(EncoderConformance):
    encoder = "letters"
