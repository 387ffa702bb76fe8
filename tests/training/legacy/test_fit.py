"""Arguments and tensors that no network here has are named."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

import extensions.dcgan  # noqa: F401  registers the discriminator that a test names
from tests.support.official_layout import (
    official_refusal,
    one_generator_file,
)


@pytest.mark.parametrize(
    ('kwargs', 'message'),
    [
        ({'conv_kernel': 1}, "made with 'conv_kernel', which is not known here"),
        ({'extra_kwargs': {}}, "made with 'extra_kwargs', which is not known here"),
        ({'mapping_kwargs': {'depth': 2}}, "mapping_kwargs={'depth': 2}; known are activation, embed_features"),
        ({'mapping_kwargs': {'num_layers': 10**9}}, 'made with map_depth=1000000000, more than 64'),
        ({'synthesis_kwargs': {'use_noise': False}}, 'made with use_noise=False, which no network here has'),
        ({'synthesis_kwargs': {'activation': 'swish'}}, "made with activation='swish', which no network here has"),
        ({'synthesis_kwargs': {'resample_filter': [1, 2, 1]}}, r'made with resample_filter=\[1, 2, 1\]'),
        ({'img_resolution': 12}, 'made with arguments that no network here takes: resolution=12'),
        ({'img_resolution': '8'}, "made with img_resolution='8', which is not a size"),
        ({'synthesis_kwargs': {'channel_base': 'big'}}, 'expected a whole number'),
        ({'z_dim': 7}, r'mapping\.fc0\.weight is \[5, 6\] torch.float32, expected \[5, 7\]'),
        ({'c_dim': 2}, r'mapping\.embed\.weight is missing'),
        ({'img_resolution': 16}, r'synthesis\.b16\S+ is missing.*and \d+ more'),
    ],
)
def test_arguments_without_a_network_are_named(tmp_path: Path, kwargs: dict[str, Any], message: str) -> None:
    assert re.search(message, official_refusal(one_generator_file(tmp_path, kwargs)))
