"""The module that gives each token of a rationale its keep probability."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from kpodx.weighting.masking import bound_logit


class TokenWeightModule(nn.Module):
    """e = Att(Emb(r)), w_j = σ(f_w(e_j)), equations 2 and 3, over features of the frozen student (its input embeddings in the paper).

    Att is one self-attention layer (with the usual normalisation and skip path), f_w a two-layer MLP.

    Args:
        width: of the features.
        hidden_size: of the MLP.
        logit_bound: largest absolute logit.
    """

    def __init__(self, width: int, hidden_size: int, logit_bound: float) -> None:
        super().__init__()
        self.logit_bound = logit_bound
        self.norm = nn.LayerNorm(width)
        self.attention = nn.MultiheadAttention(width, num_heads=4 if width % 4 == 0 else 1, batch_first=True)
        self.mlp = nn.Sequential(nn.Linear(width, hidden_size), nn.GELU(), nn.Linear(hidden_size, 1))

    def forward(
        self, embedding: Float[Tensor, "batch length width"], valid: Bool[Tensor, "batch length"]
    ) -> Float[Tensor, "batch length"]:
        """Keep logits, log w_j / (1 - w_j), within ±logit_bound.

        Args:
            embedding: the features of the rationale's tokens.
            valid: False on padding.
        """
        inside = self.norm(embedding)
        attended, _ = self.attention(inside, inside, inside, key_padding_mask=~valid, need_weights=False)
        return bound_logit(self.mlp(inside + attended).squeeze(-1), self.logit_bound)

    @torch.no_grad()
    def keep_prob(
        self, embedding: Float[Tensor, "batch length width"], valid: Bool[Tensor, "batch length"]
    ) -> Float[Tensor, "batch length"]:
        """w_j, the probability that token j is kept (equation 3)."""
        return torch.sigmoid(self(embedding, valid))
