"""One pass by several processes: bit-identical for any number of them, and the end of one is the end of all."""

import pytest
import torch

from dnnlib.errors import DataError
from dnnlib.signals import StopRequested
from metrics.evaluate import MetricEvaluator, serve
from metrics.streams.shares import ShareFailed, cut, in_shares
from tests.metrics.test_evaluate import ALL, ToyDetector, fakes, reference
from tests.support.ranks import run_ranks
from torch_utils.distributed import World

ROWS = torch.randn(23, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
BLANK = torch.zeros(4, 5, dtype=torch.float64)


def rows_of(parts):
    return (ROWS[part.start : part.stop] for part in parts)


def taken(world, look=rows_of, take=None):
    found = []
    in_shares(world, cut(len(ROWS), 4), look, BLANK, take or found.append)
    return torch.cat(found)


@pytest.mark.parametrize('size', [1, 2, 3, 8])
def test_every_process_takes_every_part_in_order(size):
    answers = run_ranks(size, taken) if size > 1 else [taken(World())]
    assert all(torch.equal(answer, ROWS) for answer in answers)


@pytest.mark.parametrize('rank', [0, 1, 2])
@pytest.mark.parametrize('error', [DataError('img7.png: is no picture'), StopRequested()], ids=['fails', 'stops'])
@pytest.mark.parametrize('where', ['look', 'first look', 'take', 'last take'])
def test_what_one_process_raises_ends_the_pass_in_all(rank, error, where):
    def task(world):
        def look(parts):
            for k, part in enumerate(parts):
                if world.rank == rank and where == ('look' if k else 'first look'):
                    raise error
                yield ROWS[part.start : part.stop]

        def take(rows):
            if world.rank == rank and where == ('last take' if len(rows) < 4 else 'take'):
                raise error

        with pytest.raises((DataError, StopRequested, ShareFailed)) as caught:
            taken(world, look, take)
        return type(caught.value).__name__, str(caught.value)

    expected = (type(error).__name__, str(error))
    for k, (name, words) in enumerate(run_ranks(3, task)):
        if k == rank or isinstance(error, StopRequested):
            assert name == expected[0]
        else:
            assert (name, words) == ('ShareFailed', f'rank {rank} of 3: DataError: img7.png: is no picture')


def test_a_world_measures_what_one_process_measures():
    """Rank 0 evaluates and the others serve; its numbers are bit-identical to those of a single process."""
    options = {'reals': reference(), 'batch_size': 7}

    def task(world):
        detector = ToyDetector()
        evaluator = MetricEvaluator(**options, detector_for=lambda name: detector, world=world)
        results = None
        with world.rank0_section('metrics', lambda: False, lambda given: serve(
            given, world, torch.device('cpu'), lambda: (evaluator, fakes, None)
        )) as leads:  # fmt: skip
            if leads:
                results = evaluator.evaluate(ALL, fakes=fakes)
        return results, detector.num_seen

    (alone, all_images), *_ = [task(World())]
    for size in (2, 3):
        answers = run_ranks(size, task)
        assert answers[0][0] == alone
        assert sum(seen for _, seen in answers) == all_images
        assert min(seen for _, seen in answers) >= all_images / size * 0.8


def test_a_detector_that_another_process_cannot_build_is_told_on_rank_0():
    def task(world):
        def detector_for(name):
            if world.rank == 1:
                raise DataError('efflite.bin: not on this machine')
            return ToyDetector()

        evaluator = MetricEvaluator(reals=reference(), batch_size=7, detector_for=detector_for, world=world)
        told = []

        def share(given):
            with pytest.raises(DataError) as caught:
                serve(given, world, torch.device('cpu'), lambda: (evaluator, fakes, None))
            told.append(str(caught.value))

        with world.rank0_section('metrics', lambda: False, share) as leads:
            for _ in range(2 if leads else 0):  # a pass that failed leaves the next one as it should be
                with pytest.raises(ShareFailed, match=r'rank 1 of 2: DataError: efflite.bin: not on this machine'):
                    evaluator.evaluate(['fd_efflite40'], fakes=fakes)
        return told

    assert run_ranks(2, task) == [[], ['efflite.bin: not on this machine'] * 2]
