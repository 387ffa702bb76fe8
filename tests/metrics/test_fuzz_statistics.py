"""Fuzzing: whatever bytes lie in the cache, a load gives the stored arrays or nothing, and one sentence."""

import numpy as np

from metrics.cache import Cache
from tests.support.mutations import mutated

FIELDS = {'what': 'moments', 'content': 'abc', 'num_items': 3}
CASES = 2000


def test_2000_damaged_entries_give_the_stored_numbers_or_none(tmp_path):
    warnings = []
    cache = Cache(tmp_path, warnings.append)
    arrays = {'mean': np.arange(3.0), 'cov': np.eye(3, dtype=np.float32)}
    cache.store(FIELDS, arrays)
    path = cache.path(FIELDS)
    whole = path.read_bytes()
    missed = 0
    for case in range(CASES):
        path.write_bytes(mutated(whole, case))
        before, found = len(warnings), cache.load(FIELDS)
        if found is None:
            missed += 1
            assert len(warnings) == before + 1
        else:
            assert found.keys() == arrays.keys()
            assert all(np.array_equal(found[name], arrays[name]) for name in arrays)
    assert missed > CASES / 2
