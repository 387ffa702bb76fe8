"""The option --styles: words, blocks and indices mean the layers that read a w, and what is none is named."""

import pytest
import torch

from dnnlib.errors import ConfigError
from ganfoundry.style_layers import Layer, described, layers_of, parse_styles, ranges_of, table
from tests.support.networks import SPEC, tiny_G

LAYERS = layers_of(tiny_G(), SPEC)  # 16x16: 4 has conv1, 8 and 16 have conv0 and conv1, and ToRGB is last


def test_a_layer_names_the_block_and_the_modules_that_read_it():
    assert [layer.size for layer in LAYERS] == ['4x4', '8x8', '8x8', '16x16', '16x16', '16x16']
    assert [layer.modules for layer in LAYERS] == [
        ('b4.conv1',),
        ('b4.torgb', 'b8.conv0'),
        ('b8.conv1',),
        ('b8.torgb', 'b16.conv0'),
        ('b16.conv1',),
        ('b16.torgb',),
    ]
    assert LAYERS[1].title == '1 (8x8 conv0)'
    assert [line.split()[0] for line in table(LAYERS).splitlines()] == ['index', '0', '1', '2', '3', '4', '5']


def test_a_network_with_other_blocks_has_indices():
    class Other:
        num_ws, synthesis = 3, torch.nn.Identity()

    layers = layers_of(Other(), SPEC)
    assert parse_styles(None, layers) == (0,)
    assert parse_styles('1-2', layers) == (1, 2)
    assert described((1, 2), layers) == 'columns give styles 1-2 of 0-2'
    assert layers[1].title == '1'
    with pytest.raises(ConfigError, match='does not have the blocks of StyleGAN2; give indices'):
        parse_styles('coarse', layers)


@pytest.mark.parametrize(
    ('text', 'indices'),
    [
        ('0', (0,)),
        ('2-4,0', (0, 2, 3, 4)),
        ('1,1-2', (1, 2)),
        ('coarse', (0, 1, 2)),
        ('middle', (3, 4, 5)),
        ('Coarse, 5', (0, 1, 2, 5)),
        ('8x8', (1, 2)),
        ('8x8-16x16', (1, 2, 3, 4, 5)),
        ('all', (0, 1, 2, 3, 4, 5)),
        ('none', ()),
        (None, (0, 1, 2)),  # half, as all blocks are up to 16x16
    ],
)
def test_styles_are_chosen_by_index_word_and_block(text, indices):
    assert parse_styles(text, LAYERS) == indices


def test_without_the_option_blocks_up_to_16_are_chosen_or_half():
    def layers(*resolutions):
        return [Layer(i, r, f'{r}x{r}', ()) for i, r in enumerate(resolutions)]

    assert parse_styles(None, layers(4, 8, 16, 32, 64, 128)) == (0, 1, 2)
    assert parse_styles(None, layers(4, 8, 16, 32, 64, 128, 256, 512)) == (0, 1, 2)
    assert parse_styles(None, layers(4, 4, 8, 8, 16, 16)) == (0, 1, 2)


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('6', '--styles=6: this network has num_ws = 6, with indices 0 to 5'),
        ('0-17', 'num_ws = 6'),
        ('4-2', 'num_ws = 6'),
        ('fine', 'this network has no fine layers; its blocks are 4x4, 8x8, 16x16'),
        ('32x32', 'no block draws 32x32; the blocks of this network are 4x4, 8x8, 16x16'),
        ('16x16-8x8', 'a range goes up'),
        ('rough', 'expected indices and ranges'),
        ('', 'expected indices and ranges'),
        ('0,', 'expected indices and ranges'),
    ],
)
def test_what_the_network_does_not_have_is_named(text, message):
    with pytest.raises(ConfigError, match=message):
        parse_styles(text, LAYERS)


def test_ranges_are_short():
    assert [ranges_of(indices) for indices in ((0, 1, 2, 5), (3,), ())] == ['0-2,5', '3', 'none']
    assert described((), LAYERS) == 'columns give no styles'
    assert described((0, 1, 3), LAYERS) == 'columns give styles 0-1,3 of 0-5, in the blocks 4x4 8x8 16x16'
