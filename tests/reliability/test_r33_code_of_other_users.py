"""R33: a native library that somebody else can have put into a cache folder is not loaded; one is built elsewhere.

The judgment itself is tested in tests/dnnlib/test_trust.py; here a library lies in wait, and would write a file.
"""

import os
import subprocess
import sys

import pytest

from tests.conftest import ROOT
from torch_utils.ops.toolchain import build, cpu_toolchain

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        cpu_toolchain.find_cxx() is None or cpu_toolchain.find_ninja() is None, reason='needs g++ and ninja'
    ),
]
LOAD = 'import pathlib, sys, torch_utils.ops.toolchain.build as b; print(b.load_cpu(pathlib.Path(sys.argv[1])))'


@pytest.mark.parametrize('variable', ['GANFOUNDRY_CACHE', 'HOME'])
def test_a_planted_library_does_not_run(tmp_path, variable):
    source, cache, temporary = tmp_path / 'csrc', tmp_path / 'cache', tmp_path / 'tmp'
    for folder in (source, cache, temporary):
        folder.mkdir()
    (source / 'answer.cpp').write_text('extern "C" int answer() { return 42; }\n')
    (tmp_path / 'evil.cpp').write_text(
        '#include <cstdio>\n__attribute__((constructor)) static void run() '
        f'{{ std::fclose(std::fopen("{tmp_path}/ran", "w")); }}\n'
    )
    place = cache if variable == 'GANFOUNDRY_CACHE' else cache / '.cache' / 'ganfoundry'
    place.mkdir(parents=True, exist_ok=True)
    planted = place / build._file_name(build.digest(source, cpu_toolchain.find_toolchain()))
    subprocess.run([cpu_toolchain.find_cxx(), '-shared', '-fPIC', '-o', planted, tmp_path / 'evil.cpp'], check=True)

    def load():
        clean = {name: value for name, value in os.environ.items() if name != 'GANFOUNDRY_CACHE'}
        environment = {**clean, variable: str(cache), 'TMPDIR': str(temporary), 'OMP_NUM_THREADS': '1'}
        command = [sys.executable, '-c', LOAD, str(source)]
        return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)

    cache.chmod(0o777)
    done = load()
    assert not (tmp_path / 'ran').exists()
    assert str(temporary) in done.stdout
    assert 'may be written by others' in done.stderr
    cache.chmod(0o755)
    load()
    assert (tmp_path / 'ran').exists()  # the trap works
