"""R14: a hostile model file is refused at every door that takes one, runs nothing, and takes little memory.

The reader itself is put to ten thousand damaged files in tests/training/legacy/test_hostile.py.
"""

import json

import pytest

from tests.support.hostile_pickles import CORPUS

pytestmark = pytest.mark.slow


@pytest.mark.parametrize('door', ['generate.py --network', 'train.py --resume'])
def test_no_file_of_the_corpus_runs_anything(zygote, tmp_path, door):
    """A process loads them all and reports what an audit hook saw; a canary would lie in its folder."""
    assert len(CORPUS) >= 25
    paths = [tmp_path / f'{i:03d}.pkl' for i in range(len(CORPUS))]
    for path, content in zip(paths, CORPUS.values(), strict=True):
        path.write_bytes(content)
    args = (door, list(map(str, paths)), str(tmp_path))
    launch = zygote.start('tests.reliability.hostile:load', *args, output=tmp_path / 'output.txt')
    assert launch.wait() == 0, launch.said()
    report = json.loads(launch.said().splitlines()[-1])
    assert report['forbidden'] == []
    assert report['outcomes'] == {'UnsafeModelFile': len(CORPUS)}
    assert report['grown_bytes'] <= 2 * max(map(len, CORPUS.values())) + 64 * 2**20
    assert not (tmp_path / 'PWNED').exists()


def test_a_training_run_refuses_one_in_a_line(run, tmp_path):
    (tmp_path / 'evil.pkl').write_bytes(next(iter(CORPUS.values())))
    struck = run()
    launch = struck.launch(f'--resume={tmp_path / "evil.pkl"}')
    assert launch.wait() == 2
    assert launch.said().splitlines()[-1].startswith(f'Error: {tmp_path / "evil.pkl"}: ')
    assert not struck.outdir.exists()
