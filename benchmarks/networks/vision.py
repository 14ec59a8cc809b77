"""Networks over pictures that none of the other files make: a vision transformer, and the quickstart's own."""

from __future__ import annotations

import torch
from torch import nn

from benchmarks.networks.settle import DIGIT, settled
from elsa_edge.quickstart.model import digits_net

__all__ = ["digits", "vit_b_16"]

_WIDTH, _HEADS, _DEPTH, _PATCH, _CLASSES = 768, 12, 12, 16, 1000
_PATCHES = (224 // _PATCH) ** 2


class _VisionTransformer(nn.Module):
    """Patches of 16 x 16, twelve layers of 768, a class token: 86 million parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, _WIDTH, _PATCH, _PATCH)
        self.token = nn.Parameter(torch.randn(1, 1, _WIDTH) * 0.02)
        self.places = nn.Parameter(torch.randn(1, _PATCHES + 1, _WIDTH) * 0.02)
        layer = nn.TransformerEncoderLayer(
            _WIDTH, _HEADS, 4 * _WIDTH, 0.0, "gelu", batch_first=True, norm_first=True
        )
        self.encoder = nn.TransformerEncoder(layer, _DEPTH, nn.LayerNorm(_WIDTH), enable_nested_tensor=False)
        for weight in self.encoder.parameters():  # copies of one layer, which a file would store once
            if weight.dim() > 1:
                nn.init.xavier_uniform_(weight)
        self.head = nn.Linear(_WIDTH, _CLASSES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        tokens = self.patches(x).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.token.expand(len(x), -1, -1), tokens], 1) + self.places
        logits: torch.Tensor = self.head(self.encoder(tokens)[:, 0])
        return logits


def vit_b_16() -> nn.Module:
    """Return a vision transformer of ViT-B/16's sizes; input `(batch, 3, 224, 224)`."""
    torch.manual_seed(0)
    return _VisionTransformer().eval()


def digits() -> nn.Module:
    """Return the quickstart's network, not trained; input `(batch, 1, 28, 28)`."""
    torch.manual_seed(0)
    return settled(digits_net(), DIGIT)
