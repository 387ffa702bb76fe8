"""ADA's pipe as a whole: nothing at p = 0, the same under a seed, any shape, every derivative, no wait for a device."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

from dnnlib.errors import ConfigError
from tests.support.gpu import no_waits
from training.augment import geometric
from training.augment.pipe import AugmentPipe
from training.augment.presets import PRESETS, Ranges, Transforms

EVERYTHING = PRESETS['bgcfnc']


def images(*shape: int, dtype: torch.dtype = torch.float32, seed: int = 0) -> torch.Tensor:
    return torch.rand(shape, dtype=dtype, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def augment(img: torch.Tensor, p: float, transforms: Transforms = EVERYTHING, seed: int = 0) -> torch.Tensor:
    torch.manual_seed(seed)
    return AugmentPipe(transforms)(img, p)


@pytest.mark.parametrize('name', PRESETS)
def test_p_zero_is_the_very_same_tensor_and_draws_nothing(name: str):
    x = images(2, 3, 24, 24).requires_grad_()
    before = torch.get_rng_state()
    assert AugmentPipe(PRESETS[name])(x, 0.0) is x
    assert torch.equal(torch.get_rng_state(), before)


def test_nothing_is_computed_where_no_gate_opens():
    x = images(4, 3, 24, 24)
    assert augment(x, 1e-9) is x
    assert augment(x[:0], 1.0).shape == (0, 3, 24, 24)


@pytest.mark.parametrize('name', PRESETS)
def test_images_that_draw_nothing_stay_to_the_bit_and_the_others_change(name: str):
    x = images(64, 3, 24, 24)
    pipe = AugmentPipe(PRESETS[name])
    torch.manual_seed(2)
    drawn = pipe.draw(x.shape, 0.1)
    changes = torch.zeros(64, dtype=torch.bool)
    for values, neutral in (
        (drawn.inverse, torch.eye(3)), (drawn.colors, torch.eye(4)), (drawn.gains, torch.ones(4)),
        (drawn.sigma, torch.zeros([])), (drawn.windows, torch.zeros(3)),
    ):  # fmt: skip
        if values is not None:
            changes |= (values != neutral).reshape(64, -1).any(dim=1)
    assert 0 < int(changes.sum()) < 64
    y = augment(x, 0.1, PRESETS[name], seed=2)
    assert torch.equal((y != x).flatten(1).any(dim=1), changes)


def test_a_seed_decides_everything():
    x = images(4, 3, 24, 40)
    y = augment(x, 0.8)
    assert torch.equal(augment(x, 0.8), y)
    assert not torch.equal(augment(x, 0.8, seed=1), y)


@pytest.mark.parametrize('channels', [1, 2, 3, 4, 6])
@pytest.mark.parametrize('size', [(24, 24), (24, 48), (40, 24)])
def test_any_number_of_channels_and_any_shape_go_through(channels: int, size: tuple[int, int]):
    x = images(3, channels, *size).requires_grad_()
    y = augment(x, 1.0)
    assert (y.shape, y.dtype) == (x.shape, x.dtype)
    (dx,) = torch.autograd.grad(y.square().sum(), x)
    assert bool(y.isfinite().all())
    assert bool(dx.isfinite().all())
    changed = (y != x).flatten(2).any(dim=2)
    assert bool(changed.all())


@pytest.mark.parametrize('size', [(4, 4), (4, 8), (7, 5)])
def test_the_smallest_images_go_through_where_nothing_is_filtered(size: tuple[int, int]):
    y = augment(images(16, 3, *size), 1.0, dataclasses.replace(EVERYTHING, imgfilter=0))
    assert y.shape == (16, 3, *size)
    assert bool(y.isfinite().all())


def test_a_landscape_that_is_turned_keeps_its_aspect():
    """A bar of 32 x 4 pixels, turned a quarter within its 16 x 40 frame, is 4 wide and fills the height.

    Beyond 8 pixels from the middle lies what was reflected above and below.
    """
    x = torch.full([1, 1, 16, 40], -1.0, dtype=torch.float64)
    x[:, :, 6:10, 4:36] = 1
    margins, theta = geometric.plan(geometric.quarter_turns(torch.ones(1, dtype=torch.float64)), 16, 40)
    y = geometric.apply(x, theta, margins)
    assert bool((y[:, :, :, 18:22] > 0.7).all())
    assert bool((y[:, :, :, 13:17] < -0.7).all())
    assert bool((y[:, :, :, 23:27] < -0.7).all())


def test_images_in_channels_last_order_have_the_same_result():
    x = images(3, 3, 24, 32)
    y = augment(x.contiguous(memory_format=torch.channels_last), 1.0, PRESETS['bgcf'])
    torch.testing.assert_close(y, augment(x, 1.0, PRESETS['bgcf']), rtol=0, atol=2e-5)


def test_float32_is_as_good_as_float64():
    x = images(4, 3, 64, 64, dtype=torch.float64)
    wide = augment(x, 1.0, PRESETS['bgcf'])
    narrow = augment(x.float(), 1.0, PRESETS['bgcf'])
    assert float((wide - narrow).abs().max()) < 1e-4 * float(wide.abs().max())


@pytest.mark.parametrize('name', ['bg', 'color', 'filter', 'noise', 'cutout', 'bgcfnc'])
def test_first_and_second_derivatives_are_those_of_finite_differences(name: str):
    size = (22, 22) if PRESETS[name].imgfilter else (6, 8)
    x = images(2, 3, *size, dtype=torch.float64).requires_grad_()

    def pipe(x: torch.Tensor) -> torch.Tensor:
        return augment(x, 0.9, PRESETS[name], seed=3)

    assert pipe(x.detach()) is not x
    assert gradcheck(pipe, x, fast_mode=True)
    assert gradgradcheck(lambda x: pipe(x).pow(3), x, fast_mode=True)


def test_r1_through_the_pipe_passes_gradgradcheck():
    """The gradient penalty of a small discriminator behind the pipe, in its weights and in the images."""
    x = images(2, 3, 22, 22, dtype=torch.float64).requires_grad_()
    weight = images(2, 3, 3, 3, dtype=torch.float64, seed=1).requires_grad_()

    def penalty(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        y = augment(x, 0.9, seed=3)
        logits = torch.nn.functional.conv2d(y, weight).tanh().sum()
        (dx,) = torch.autograd.grad(logits, x, create_graph=True)
        return dx.square().sum(dim=(1, 2, 3))

    assert gradcheck(penalty, (x, weight), fast_mode=True)
    assert gradgradcheck(penalty, (x, weight), fast_mode=True, atol=1e-4)


def test_what_was_kept_in_inference_mode_can_be_differentiated_through_later():
    geometric._filter.cache_clear()
    x = images(1, 3, 24, 24)
    with torch.inference_mode():
        augment(x, 1.0)
    y = augment(x.requires_grad_(), 1.0)
    assert torch.autograd.grad(y.sum(), x)[0].abs().sum() > 0


def test_no_value_is_read_back_from_the_device():
    """Tensors on 'meta' have none: not for the margins, nor for which images a stage works on."""
    x = images(8, 4, 24, 32).to('meta').requires_grad_()
    y = augment(x, 0.5)
    assert y.shape == x.shape
    assert torch.autograd.grad(y.sum(), x)[0].shape == x.shape


def test_what_cannot_work_is_refused_with_what_was_expected():
    x = images(2, 3, 24, 24)
    for wrong in (x[0], x.bfloat16(), (x * 127).to(torch.uint8)):
        with pytest.raises(ValueError, match=r'augment: expected img \[N, C, H, W\] in float32, got'):
            augment(wrong, 0.5)
    for p in (-0.1, float('nan')):
        with pytest.raises(ValueError, match=r'augment: p=.*: must be at least 0'):
            augment(x, p)
    with pytest.raises(ConfigError, match=r'xflip=-1: must be finite and at least 0'):
        Transforms(xflip=-1)
    with pytest.raises(ConfigError, match=r'imgfilter_bands=\(1, inf, 1, 1\): must be finite'):
        Ranges(imgfilter_bands=(1, float('inf'), 1, 1))


@pytest.mark.gpu
def test_the_device_is_never_waited_for_and_agrees_with_the_host():
    x = images(8, 4, 64, 48)
    transforms = PRESETS['bgcfnc']
    on_device = x.cuda()
    torch.manual_seed(0)
    AugmentPipe(transforms)(on_device, 0.5)  # builds the kernels, and sends the filter over
    torch.manual_seed(0)
    with no_waits():
        y = AugmentPipe(transforms)(on_device.requires_grad_(), 0.5)
        torch.autograd.grad(y.sum(), on_device)
    assert y.device == on_device.device
    without_noise = dataclasses.replace(transforms, noise=0)
    y = augment(on_device, 0.5, without_noise)
    torch.testing.assert_close(y.cpu(), augment(x, 0.5, without_noise), rtol=1e-3, atol=1e-3)
