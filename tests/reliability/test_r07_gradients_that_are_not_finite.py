"""R7: a gradient that is not finite moves no weight; the step is counted, a warning says so, and training continues."""

import re

import pytest

from tests.support.runs import losses
from torch_utils.checkpoint import list_states, load_state
from training.run.recovery import count_faults

pytestmark = pytest.mark.slow


def test_a_poisoned_gradient_is_skipped_counted_and_told(run):
    struck = run(plan=[('phase', 10, 'nan')])
    launch = struck.launch()
    assert launch.wait() == 0, launch.said()
    assert struck.all_struck()
    told = r'WARNING: losses or gradients were not finite in 1 of \d+ optimizer steps of this tick; those steps were'
    assert re.search(told, launch.said())
    assert sum(map(count_faults, losses(struck.folder))) == 1
    tensors, _ = load_state(list_states(struck.folder / 'state')[-1])
    assert all(tensor.isfinite().all() for tensor in tensors.values())
    assert all(value['mean'] == value['mean'] for line in losses(struck.folder) for key, value in line.items()
               if key.startswith('Health/'))  # fmt: skip
