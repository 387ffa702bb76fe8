"""The console script: every command under its name, with help at once and restarts for several processes."""

import resource
import signal
import subprocess
import sys

import pytest

import ganfoundry
from ganfoundry.cli import COMMANDS, commands
from tests.commands.test_distributed_run import FLAGS, wait_until_trained
from tests.support.forks import environment
from tests.support.runs import last_state, make_zip, only_run, start

pytestmark = pytest.mark.slow

MODULE = [sys.executable, '-m', 'ganfoundry']


def run(*args, **kwargs):
    return subprocess.run([*MODULE, *args], capture_output=True, text=True, env=environment(), timeout=300, **kwargs)


def test_the_version_is_the_one_of_the_package():
    assert run('--version').stdout.split()[-1] == ganfoundry.__version__


@pytest.mark.parametrize('name', [None, *COMMANDS])
def test_help_answers_in_less_than_half_a_second_without_torch(name):
    """Measures the time of the processor: the machine may be busy."""

    def seconds():
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        code = (
            'import sys; from ganfoundry.cli import main\n'
            'try: main()\nfinally: assert not {"torch", "PIL", "scipy"} & set(sys.modules)'
        )
        args = [sys.executable, '-c', code, *([name] if name else []), '--help']
        done = subprocess.run(args, capture_output=True, text=True, env=environment())
        assert done.returncode == 0, done.stderr
        assert 'Usage' in done.stdout
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    assert any(seconds() < 0.4 for _ in range(3))


def test_the_help_lists_every_command_with_a_whole_sentence():
    text = commands.get_help(commands.make_context('ganfoundry', [], resilient_parsing=True))
    for name in COMMANDS:
        (line,) = [line for line in text.splitlines() if line.split()[:1] == [name]]
        assert line.endswith('.')
        assert not line.endswith('...')


def test_an_error_is_one_line_and_exit_code_2(tmp_path):
    assert start(tmp_path, '-m', 'ganfoundry', 'train', '--cfg=nothing').wait() == 2
    errors = (tmp_path / 'errors').read_text()
    assert errors.startswith("Error: unknown --cfg 'nothing'")
    assert len(errors.splitlines()) == 1
    assert start(tmp_path, '-m', 'ganfoundry', 'calc_metrics', '--metrics=x').wait() == 2
    assert "Error: no such command 'trian': did you mean 'train'?" in run('trian').stderr


def test_a_run_in_two_processes_stops_and_says_how_to_continue(tmp_path):
    """`python -m ganfoundry` is restarted as a module: by the path in sys.argv its package would not be found."""
    data = make_zip(tmp_path / 'tiny.zip')
    outdir = tmp_path / 'runs'
    train = ('-m', 'ganfoundry', 'train', f'--outdir={outdir}')
    launch = start(tmp_path, *train, f'--data={data}', *FLAGS, '--gpus=2')
    wait_until_trained(launch, outdir, 2)
    launch.kill(signal.SIGINT)
    assert launch.wait() == 130
    assert f'continue: ganfoundry train --resume={only_run(outdir)}' in launch.said()
    assert start(tmp_path, *train, '--resume=latest', '--gpus=1').wait() == 0
    assert last_state(only_run(outdir))[1]['nimg'] >= 1000
