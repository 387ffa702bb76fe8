"""The report of style mixing: the distance is LPIPS or is said to be another, and belongs to its layer."""

import json

import numpy as np
import torch

from ganfoundry import style_report
from ganfoundry.style_layers import Layer
from ganfoundry.style_report import distance_for, measured, pixel_distance, print_report, write_report
from metrics.detectors.lpips import Lpips

CPU = torch.device('cpu')
LAYERS = [Layer(0, 4, '4x4', ('b4.conv1',)), Layer(1, 8, '8x8', ('b8.conv0',))]


def test_absent_weights_and_small_images_are_said(monkeypatch):
    monkeypatch.setattr(style_report.Lpips, 'available', lambda: False)
    assert distance_for(16, 16, CPU).name == 'pixel distance in gray levels (the weights of LPIPS are absent)'
    assert distance_for(8, 16, CPU).name.endswith('(LPIPS needs 16 pixels)')


def test_lpips_is_that_of_the_metrics(monkeypatch):
    lpips = Lpips.random()
    monkeypatch.setattr(style_report, 'Lpips', type('Fake', (), {
        'available': staticmethod(lambda: True), '__new__': lambda cls, device: lpips}))  # fmt: skip
    a, b = np.random.default_rng(0).integers(0, 256, [2, 3, 3, 16, 16], np.uint8)
    distance = distance_for(16, 16, CPU)
    assert distance.name.startswith('LPIPS (')
    assert distance.of(a, b) == lpips.distance(torch.from_numpy(a), torch.from_numpy(b)).tolist()
    assert distance.of(a, a) == [0, 0, 0]


def test_each_layer_has_the_mean_over_its_own_mixtures(tmp_path, capsys):
    images = np.zeros([4, 2, 3, 4, 4], np.uint8)  # row images, two layers, column images; two pairs
    images[1, 0], images[1, 1], images[2, 0] = 10, 20, 4
    rows = measured(images.reshape(8, 3, 4, 4), LAYERS, 2, style_report.Distance('pixels', pixel_distance))
    assert [row['mean'] for row in rows] == [15, 2]
    print_report(rows, 'pixels', 2)
    printed = capsys.readouterr().out
    assert 'mean over 2 pairs' in printed
    assert [line.count('#') for line in printed.splitlines()[1:]] == [30, 4]
    write_report(tmp_path / 'report.json', rows, 'pixels', ['0-1', '0-2'], {'network_sha256': 'aa'})
    record = json.loads((tmp_path / 'report.json').read_text())
    assert (record['distance'], record['network_sha256'], record['layers'][1]['layers']) == (
        'pixels',
        'aa',
        ['b8.conv0'],
    )
