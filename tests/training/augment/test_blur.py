"""The blur of D's first images is the official one, fades, and lets R1 through."""

from __future__ import annotations

import pytest
import torch

from tests.support.stylegan3 import load_discriminator, load_tensors
from training.augment.blur import blur, blur_filter, sigma_at
from training.augment.config import AugmentConfig
from training.augment.view import View
from training.objective.r1 import r1_penalty

CPU = torch.device('cpu')


def test_logits_and_r1_behind_the_blur_are_the_official_ones() -> None:
    t, meta = load_tensors('stylegan3_net_r32')
    D = load_discriminator(t, meta)
    sigmas = meta['blur_sigmas']
    assert len(sigmas) == 3
    for k, sigma in enumerate(sigmas):
        f = blur_filter(sigma, CPU)
        if f'filter.blur{k}' in t:
            assert f is not None
            torch.testing.assert_close(f, t[f'filter.blur{k}'], rtol=0, atol=1e-7)
            torch.testing.assert_close(blur(t['real'][:1], sigma), t[f'real.blur{k}'], rtol=0, atol=1e-5)
        else:
            assert f is None
        torch.testing.assert_close(D(blur(t['img'], sigma), None), t[f'logits_fake.blur{k}'], rtol=1e-4, atol=1e-6)
        real = t['real'].clone().requires_grad_()
        logits = D(blur(real, sigma), None)
        torch.testing.assert_close(logits, t[f'logits_real.blur{k}'], rtol=1e-4, atol=1e-6)
        torch.testing.assert_close(r1_penalty(real, logits), t[f'r1.blur{k}'], rtol=1e-3, atol=1e-8)


def test_sigma_falls_linearly_to_zero() -> None:
    assert [sigma_at(nimg, 10, 200) for nimg in (0, 100_000, 200_000, 300_000)] == [10, 5, 0, 0]


def test_at_its_widest_it_blurs_an_image_that_is_narrower_than_its_filter() -> None:
    assert blur(torch.ones(1, 3, 32, 32), 10).shape == (1, 3, 32, 32)


@pytest.mark.parametrize(('nimg', 'is_blurred'), [(0, True), (199_000, False)])
def test_the_view_blurs_until_the_blur_has_faded(nimg: int, is_blurred: bool) -> None:
    view = View(AugmentConfig(blur_sigma=10, blur_fade_kimg=200), None, lambda: nimg)
    img = torch.rand(2, 3, 16, 16)
    assert (view(img) is not img) == is_blurred
