"""Passes: the description that goes to the other processes, and what follows from it."""

import json
from dataclasses import asdict

import torch

from metrics.streams.passes import Pass, with_float64

FAKES = Pass(stream='fakes', network='efflite', num_items=10, size=4, width=3, seed=7)


def test_a_description_survives_its_way_to_another_process():
    assert Pass(**json.loads(json.dumps(asdict(FAKES)))) == FAKES


def test_parts_cover_the_stream_and_fit_the_blank():
    assert [len(part) for part in FAKES.parts] == [4, 4, 2]
    assert [i for part in FAKES.parts for i in part] == list(range(10))
    blank = FAKES.blank(torch.device('cpu'))
    assert (blank.shape, blank.dtype, int(blank.count_nonzero())) == ((4, 3), torch.float64, 0)


def test_messages_name_the_stream_and_the_network():
    sources = [
        Pass(stream=s, network='n', num_items=1, size=1, width=1).source for s in ('reals', 'originals', 'paths')
    ]
    assert sources == ['real images for n', 'real images for n', 'pairs of images for n']
    assert FAKES.source == 'generated images for efflite'


def test_only_cuda_among_the_accelerators_has_float64():
    assert [with_float64(torch.device(d)).type for d in ('cpu', 'cuda', 'mps')] == ['cpu', 'cuda', 'cpu']
