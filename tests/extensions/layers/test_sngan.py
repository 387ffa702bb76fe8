"""The discriminator of Table 2."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from extensions.gconv import gconv
from extensions.layers.sngan import SNGANDiscriminator, SNGANDiscriminatorConfig
from tests.extensions.layers.test_gconv import largest
from tests.extensions.test_gconv import facts, size

DISCRIMINATORS = [
    (32, 0, 1_053_825),
    (32, 10, 1_055_105),
    (32, 100, 1_066_625),
    (128, 0, 14_560_961),
    (128, 200, 14_663_361),
    (256, 0, 14_589_793),
]


@pytest.mark.parametrize(('resolution', 'label_dim', 'total'), DISCRIMINATORS)
def test_discriminators_have_their_number_of_parameters(resolution: int, label_dim: int, total: int) -> None:
    spec = facts(resolution, label_dim)
    with torch.device('meta'):
        D = SNGANDiscriminator(gconv(spec, 1).discriminator, spec)
    assert size(D) == total


@torch.no_grad()
@pytest.mark.parametrize(('resolution', 'num_plain', 'widths'), [(32, 2, (8, 8, 8, 8)), (64, 1, (4, 8, 8, 8, 8))])
def test_the_discriminator_is_table_2(resolution: int, num_plain: int, widths: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    cfg = SNGANDiscriminatorConfig(channel_base=256, channel_max=8, num_plain=num_plain, sn=False)
    D = SNGANDiscriminator(cfg, facts(resolution, 3))
    for p in D.parameters():
        torch.nn.init.normal_(p, std=0.1)
    img, c = torch.randn(4, 3, resolution, resolution), torch.eye(4, 3)
    x = img
    for i, block in enumerate(D.blocks):
        h = F.conv2d(x if i == 0 else torch.relu(x), block.conv0.weight, block.conv0.bias, padding=1)
        h = F.conv2d(torch.relu(h), block.conv1.weight, block.conv1.bias, padding=1)
        skip = x if block.skip is None else F.conv2d(x, block.skip.weight, block.skip.bias)
        down = i < len(D.blocks) - num_plain
        assert (block.skip is None) == (not down and x.shape[1] == h.shape[1])
        x = F.avg_pool2d(h + skip, 2) if down else h + skip
    assert tuple(block.conv1.weight.shape[0] for block in D.blocks) == widths
    assert x.shape[2] == {32: 8, 64: 4}[resolution]
    h = torch.relu(x).sum([2, 3])
    expected = h @ D.out.weight.t() + D.out.bias + (h * (c @ D.embed.weight.t())).sum(1, keepdim=True)
    assert largest(D(img, c), expected) < 1e-4 * float(expected.abs().max())
