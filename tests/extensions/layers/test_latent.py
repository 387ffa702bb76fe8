"""Labels: an embedding in G and a projection in D."""

from __future__ import annotations

import pytest
import torch

from tests.extensions.test_giu_counts import networks
from torch_utils.summary import count


def test_labels_add_an_embedding_in_g_and_a_projection_in_d() -> None:
    with torch.device('meta'):
        plain, labelled = networks('giu', 32), networks('giu', 32, label_dim=10)
    added = [count(new)[0] - count(old)[0] for new, old in zip(labelled, plain, strict=True)]
    assert added == [10 * 128 + 128 * 256 * 4 * 4, 10 * 256]


def test_a_new_label_embedding_is_smaller_than_the_latent() -> None:
    G = networks('giu', 32, label_dim=10)[0]
    assert G.embed.weight.std().item() == pytest.approx(0.3, rel=0.1)  # as wide as z, whose numbers have std 1
