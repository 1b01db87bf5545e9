"""An encoder in one file outside the package: how often each letter stands in a text."""

import torch

from recbole_mm import ContentEncoder, register_encoder

LETTERS = "abcdefghijklmnopqrstuvwxyz"


@register_encoder("letters", reads="texts")
class LetterCounts(ContentEncoder):
    """Shares of the letters a to z, and the length of the text."""

    def __init__(self):
        super().__init__({"encoder": "letters", "revision": "1", "preprocessing": {"case": "lower"}})

    def forward(self, contents):
        """Features ``[n, 27]``."""
        rows = [[text.lower().count(letter) / max(len(text), 1) for letter in LETTERS] for text in contents]
        lengths = [[float(len(text))] for text in contents]
        return torch.cat([torch.tensor(rows), torch.tensor(lengths)], dim=1)
