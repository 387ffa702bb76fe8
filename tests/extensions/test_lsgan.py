"""LSGAN's networks: stages, widths, and the images that they refuse."""

from __future__ import annotations

import pytest
import torch

from dnnlib.errors import ConfigError
from extensions.lsgan import LSGANDiscriminator, LSGANDiscriminatorConfig, LSGANGenerator, LSGANGeneratorConfig, lsgan
from training.interface import ImageSpec


def spec(resolution: int = 32, label_dim: int = 0) -> ImageSpec:
    return ImageSpec(resolution=resolution, channels=3, label_dim=label_dim, num_images=1)


def test_stages_have_64_channels_at_the_image_and_16_behind_it() -> None:
    for resolution in (32, 64):
        cfg = lsgan(spec(resolution), 1)
        with torch.device('meta'):
            G = LSGANGenerator(cfg.generator, spec(resolution))
            D = LSGANDiscriminator(cfg.discriminator, spec(resolution))
        assert G.stages == [2**k for k in range(4, resolution.bit_length())]
        assert D.stages == [2**k for k in range(resolution.bit_length() - 2, 0, -1)]
        assert getattr(G, f'b{resolution}').conv.out_channels == 64
        assert getattr(D, f'b{resolution // 2}').conv.out_channels == 16


def test_the_first_stage_of_d_has_no_norm_and_all_others_have() -> None:
    D = LSGANDiscriminator(LSGANDiscriminatorConfig(), spec())
    assert [getattr(D, f'b{res}').norm is None for res in D.stages] == [True] + [False] * (len(D.stages) - 1)


def test_a_label_changes_the_image_and_the_logit() -> None:
    torch.manual_seed(0)
    G = LSGANGenerator(LSGANGeneratorConfig(channel_base=256), spec(label_dim=2)).eval()
    D = LSGANDiscriminator(LSGANDiscriminatorConfig(), spec(label_dim=2)).eval()
    z, c = torch.randn(1, G.z_dim).repeat(2, 1), torch.eye(2)
    img = G(z, c)
    assert img.shape == (2, 3, 32, 32)
    assert not torch.equal(img[0], img[1])
    logits = D(img[:1].repeat(2, 1, 1, 1), c)
    assert not torch.equal(logits[0], logits[1])


@pytest.mark.parametrize('resolution', [8, 24, 48])
def test_a_resolution_that_cannot_work_is_named(resolution: int) -> None:
    for build, config in ((LSGANGenerator, LSGANGeneratorConfig()), (LSGANDiscriminator, LSGANDiscriminatorConfig())):
        with pytest.raises(ConfigError, match=f'resolution={resolution}: must be a power of two, at least 16'):
            build(config, spec(resolution))
