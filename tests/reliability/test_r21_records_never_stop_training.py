"""R21: a metric, a sheet, TensorBoard or a log that fails is one warning, and training continues to the same bits."""

import pytest

from tests.reliability.supervisor import fingerprint

pytestmark = pytest.mark.slow

WARNINGS = {
    'metric': 'kimg: RuntimeError: planted failure; training continues',
    'sheet': 'cannot be drawn (RuntimeError: planted failure)',
    'board': 'TensorBoard failed and is disabled: planted failure',
    'open board': 'TensorBoard cannot be opened: planted failure',
}


@pytest.mark.parametrize('what', WARNINGS)
def test_a_record_that_fails_is_told_once_and_training_goes_on(run, undisturbed, in_peace, what):
    """Any error counts, of any code."""
    flags = ('--metrics=kid_efflite8', '--snap=3') if what == 'metric' else ()
    expected = in_peace('measured', (*run().flags[1:], *flags)) if flags else undisturbed
    struck = run(*flags, plan=[(what, 1, 'fail')])
    launch = struck.launch()
    assert launch.wait() == 0, launch.said()
    assert struck.all_struck()
    assert launch.said().count(WARNINGS[what]) == 1
    assert launch.said().count('WARNING') == 1
    assert trained(struck.folder) == trained(expected)


def trained(folder):
    """Returns the result of training, without the count of metrics that failed."""
    tensors, scalars, lines = fingerprint(folder, guardian=False)
    counted = 'Health/failed_metrics'
    return tensors, scalars, [{key: value for key, value in line.items() if key != counted} for line in lines]
