"""The work of a run between its steps, on fake CUDA tensors: the host may wait, but devices may not be mixed."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import torch

from metrics.detectors.inception_detector import InceptionDetector
from metrics.extraction import Extraction, Requirements
from tests.support.fake_cuda.cases import Case, train
from tests.support.fake_cuda.mode import FakeCuda
from tests.support.fake_cuda.steps import CUDA, runner
from torch_utils.checkpoint import load_state, save_state
from training.record import to_record
from training.run.latents import space_of
from training.run.sampling import generated, generated_paths
from training.run.sheets import SampleSheet
from training.run.snapshot import load_discriminator, load_generator, load_snapshot, save_snapshot
from training.step import TrainStep


def draw(step: TrainStep, folder: Path) -> None:
    """Draws images and pairs for metrics, and a sheet."""
    step.recalibrate()
    G, parts = step.state.G_ema, [range(3), range(3, 6)]
    images = list(generated(G, step.dataset, parts, num_images=6, seed=0, batch_size=4))
    assert [len(part) for part in images] == [3, 3]
    paths = generated_paths(
        G, step.dataset, parts, space=space_of(G), sampling='full', num_pairs=6, seed=0, epsilon=1e-4, batch_size=4
    )
    assert [len(part) for part in paths] == [3, 3]
    sheet = SampleSheet(step.dataset, G.z_dim, seed=0, limit=8)
    sheet.diversity(sheet.draw_fakes(G, 4))


def save(step: TrainStep, folder: Path) -> None:
    """Saves the state and a snapshot, loads both, and trains on."""
    state = step.state
    tensors, scalars = load_state(save_state(folder, 'state', state.tensors(), state.scalars()))
    state.load(tensors, scalars, 'state')
    path = folder / 'network-snapshot-000001.safetensors'
    save_snapshot(path, state.G_ema, state.D, to_record(step.cfg, step.dataset.spec), state.nimg)
    for load in (load_generator, load_discriminator):
        assert next(load(load_snapshot(path), CUDA, 'bf16').parameters()).device.type == 'cuda'
    runner(step)()


def measure(step: TrainStep, folder: Path) -> None:
    """Extracts features and probabilities of images by Inception, and computes their mean and covariance."""
    detector = InceptionDetector.random(CUDA)
    extraction = Extraction(detector.feature_dim, Requirements(moments=frozenset({6}), features=2, probabilities=4))
    for _ in range(2):
        extraction.append(detector(torch.zeros([3, 3, 32, 32], dtype=torch.uint8, device=CUDA)))
    assert extraction.moments(6)[1].device.type == 'cpu'


TASKS: dict[str, tuple[Callable[[TrainStep, Path], None], str]] = {
    'draw in W': (draw, 'auto'),
    'draw in Z': (draw, 'gconv'),  # which has batch norms, too
    'save': (save, 'auto'),
    'measure': (measure, 'dcgan'),
}


def perform(name: str) -> None:
    """Performs a task of a conditional run after its first step, in a temporary folder. Raises what goes wrong."""
    task, cfg = TASKS[name]
    with tempfile.TemporaryDirectory() as folder, FakeCuda(number=1) as mode:
        step = train(Case(cfg=cfg, labels=True, sets={'aug.kind': 'ada', 'lecam.weight': 1}), mode)
        mode.strict = False
        task(step, Path(folder))
