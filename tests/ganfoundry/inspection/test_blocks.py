"""Blocks: their contributions sum to the image, Eq. (7) gives it, and the dimensions are those of the paper."""

from __future__ import annotations

import pytest
import torch

from dnnlib.errors import ConfigError
from ganfoundry.inspection.blocks import dimensions, inspect_blocks
from training.build import build_networks
from training.interface import ImageSpec
from training.registry import RECIPES


@pytest.mark.parametrize('cfg', ['squeeze', 'auto', 'gconv-stylegan2'])
def test_contributions_and_eq_7_give_the_image(drawing_of, cfg: str) -> None:
    facts = inspect_blocks(drawing_of(cfg)).facts['image']
    assert facts['largest'] > 0.1
    assert facts['difference_to_sum'] < 1e-5 * facts['largest']
    assert facts['difference_to_eq_7'] < 1e-5 * facts['largest']


def test_the_last_sum_is_the_picture_and_each_size_has_two_rows(drawing_of) -> None:
    from ganfoundry.drawing import draw_batch
    from torch_utils.images import to_uint8

    drawing = drawing_of('squeeze')
    rows = inspect_blocks(drawing).rows
    assert [name.partition(' (')[0] for name, _ in rows[::2]] == [f'{r}x{r} adds' for r in (4, 8, 16, 32)]
    image = to_uint8(draw_batch(drawing.network.module, drawing.points)).numpy()
    assert abs(rows[-1][1].astype(int) - image).max() <= 1


def test_a_block_that_adds_nothing_is_seen(drawing_of) -> None:
    drawing = drawing_of('squeeze')
    torgb = drawing.network.module.synthesis.b16.torgb
    weight, bias = torgb.weight.clone(), torgb.bias.clone()
    with torch.no_grad():
        torgb.weight.zero_()
        torgb.bias.zero_()
    try:
        blocks = inspect_blocks(drawing).facts['blocks']
    finally:
        with torch.no_grad():
            torgb.weight.copy_(weight)
            torgb.bias.copy_(bias)
    assert blocks['16']['rms'] == 0
    assert min(blocks[r]['rms'] for r in ('4', '8', '32')) > 0


def test_the_dimensions_of_eq_7_are_those_of_the_paper(drawing_of) -> None:
    """Section III-A at 256x256: 2,496 of StyleGAN2, 760 of this reading, 312 if 4x4 were squeezed, too."""
    spec = ImageSpec(resolution=256, channels=3, label_dim=0, num_images=1)
    cfg = RECIPES.get('squeeze').make(spec, 1)
    with torch.device('meta'):
        G, _ = build_networks(cfg, spec)

    class Drawing:
        class network:
            module, config = G, cfg

    blocks = dict(zip(G.synthesis.resolutions, G.synthesis.blocks(), strict=True))
    assert dimensions(Drawing, blocks) == {
        'this_network': 760, 'stylegan2': 2496, 'squeeze_at_every_size': 312, 'ratio': 8,
    }  # fmt: skip


@pytest.mark.parametrize('cfg', ['giu', 'stylegan3-t'])
def test_a_network_without_image_skips_is_refused(drawing_of, cfg: str) -> None:
    with pytest.raises(ConfigError, match=rf'--what=blocks: .*\({cfg}\) has no image skip connections'):
        inspect_blocks(drawing_of(cfg))
