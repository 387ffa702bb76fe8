"""Flags for the networks of a file: the advice of the error, followed, makes a transfer fit."""

import shlex

import pytest

from dnnlib.errors import CheckpointError
from ganfoundry import runs
from ganfoundry.commands import train
from ganfoundry.options import TrainFlags
from tests.support.measured import make_run, tiny_config
from tests.support.runs import make_zip
from training.run.transfer_flags import network_flags


def flags_of(*words):
    return TrainFlags(**train.main.make_context('train', [*map(str, words), '--device=cpu', '--metrics=none']).params)


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    return make_zip(tmp_path_factory.mktemp('data') / 'tiny32.zip', num_images=24, resolution=32)


def test_the_flags_of_an_official_file_of_unusual_width_are_printed_and_work(golden, data):
    resume = f'--resume={golden / "official_layout_uncond.pkl"}'
    with pytest.raises(CheckpointError, match='for networks of its shapes give --cfg=stylegan2 --cbase=') as caught:
        runs.new_run(flags_of(f'--data={data}', resume))
    advice = shlex.split(str(caught.value).partition('for networks of its shapes give ')[2])
    run = runs.new_run(flags_of(f'--data={data}', resume, *advice))
    lines = [line for line in runs.describe_transfer(run) if 'numbers' in line]
    assert lines
    assert all('100.0% of its numbers' in line for line in lines)


def test_the_flags_of_a_snapshot_make_its_networks(tmp_path, data):
    cfg = tiny_config(data)
    folder = make_run(tmp_path / 'run', cfg, (1000,))
    flags = network_flags(folder.snapshot(1000))
    made = runs.new_run(flags_of(f'--data={data}', *shlex.split(flags))).cfg
    for field in ('z_dim', 'w_dim', 'map_depth', 'channel_base', 'channel_max'):
        assert getattr(made.generator, field) == getattr(cfg.generator, field)
    assert made.discriminator.channel_base == cfg.discriminator.channel_base


def test_a_file_without_a_record_has_no_flags(tmp_path):
    assert network_flags(tmp_path / 'absent.safetensors') is None
    (tmp_path / 'empty.safetensors').write_bytes(b'')
    assert network_flags(tmp_path / 'empty.safetensors') is None


def test_flags_of_fields_with_several_numbers_work(golden, data):
    flags = network_flags(golden / 'r3gan_official_layout_cond.pkl')
    assert '--set generator.widths=16,12,8 --set generator.num_blocks=1,2,1' in flags
    made = runs.new_run(flags_of(f'--data={data}', '--resolution=16', *shlex.split(flags))).cfg
    sizes = (made.generator.widths, made.generator.num_blocks, made.generator.group_channels, made.generator.z_dim)
    assert sizes == ((16, 12, 8), (1, 2, 1), 8, 12)
    assert made.discriminator.widths == (16, 12, 8)
