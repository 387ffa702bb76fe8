"""R27: code of the user that calls sys.exit, or raises anything, is an error that names its file, not a silent end."""

import importlib.metadata
import sys

import pytest
from click.testing import CliRunner

from dnnlib.errors import ConfigError
from dnnlib.registry import Registry, load_file
from ganfoundry.commands.train import main
from tests.support.runs import TINY


@pytest.mark.parametrize('code', ['sys.exit(0)', "sys.exit('bye')", 'raise SystemExit'])
def test_a_plugin_file_that_calls_exit_is_an_error_for_users(tmp_path, code):
    path = tmp_path / 'mine.py'
    path.write_text(f'import sys\n\n{code}\n')
    for _ in range(2):  # it does not count as loaded
        with pytest.raises(ConfigError, match=r'--plugin=\S+mine\.py: calls sys\.exit\(.*\) while it is imported'):
            load_file(path)
    assert not [module for module in sys.modules.values() if getattr(module, '__file__', None) == str(path)]


@pytest.mark.parametrize(
    'code', ['1 / 0', 'raise GeneratorExit', 'raise EOFError', 'raise BrokenPipeError(32, "")', '(']
)
def test_whatever_a_plugin_file_raises_is_an_error_that_names_file_and_line(tmp_path, code):
    """Click ends a command in silence on EOFError and on EPIPE, as on its own Exit."""
    path = tmp_path / 'mine.py'
    path.write_text(f'import sys\n\n{code}\n')
    with pytest.raises(ImportError, match=r'--plugin=\S+mine\.py: cannot be imported: .* \(line 3\)$') as error:
        load_file(path)
    assert error.value.__cause__ is not None


def test_the_line_is_that_of_the_plugin_and_not_of_what_it_calls(tmp_path):
    path = tmp_path / 'mine.py'
    path.write_text('import json\n\n\njson.loads("{")\n')
    with pytest.raises(ImportError, match=r'JSONDecodeError: .* \(line 4\)$'):
        load_file(path)


def test_an_error_for_users_and_ctrl_c_pass_unchanged(tmp_path):
    (tmp_path / 'mine.py').write_text('from dnnlib.errors import ConfigError\nraise ConfigError("--set x: no")\n')
    with pytest.raises(ConfigError, match=r'^--set x: no$'):
        load_file(tmp_path / 'mine.py')
    (tmp_path / 'slow.py').write_text('raise KeyboardInterrupt\n')
    with pytest.raises(KeyboardInterrupt):
        load_file(tmp_path / 'slow.py')


def test_an_entry_point_that_ends_the_process_is_named(monkeypatch):
    class Point:
        name, value, group = 'far', 'far_away.module:thing', 'some.group'

        def load(self):
            sys.exit(0)

    monkeypatch.setattr(importlib.metadata, 'entry_points', lambda group: [Point()])
    for ask in (lambda: Registry('thing', entry_points='some.group').get('far'),
                lambda: Registry('thing', entry_points='some.group').load_all()):  # fmt: skip
        with pytest.raises(ConfigError, match=r'entry point far = far_away\.module:thing of some\.group: calls sys'):
            ask()


def test_a_plugin_that_exits_makes_no_run_folder(tmp_path):
    (tmp_path / 'mine.py').write_text('raise SystemExit(0)\n')
    with pytest.raises(ConfigError, match=r'mine\.py'):
        CliRunner().invoke(
            main, [*TINY, f'--outdir={tmp_path / "runs"}', f'--plugin={tmp_path / "mine.py"}'], catch_exceptions=False
        )
    assert not (tmp_path / 'runs').exists()


EXITS_LATER = """
import sys
from dataclasses import dataclass
from training.objective.term import Term, TermConfig, register_term

@dataclass(frozen=True, kw_only=True, slots=True)
class QuitConfig(TermConfig):
    weight: float = 0.0

    @property
    def active(self):
        return self.weight > 0

    def describe(self, name, cfg):
        return 'quits'

@register_term('quit_in_training', config=QuitConfig)
class Quit(Term):
    def on_logits(self, scored):
        sys.exit(0)
"""


@pytest.mark.slow
def test_a_term_that_exits_in_training_is_an_error(tmp_path):
    from tests.support.runs import call

    (tmp_path / 'later.py').write_text(EXITS_LATER)
    flags = [*TINY, '--kimg=1', f'--plugin={tmp_path / "later.py"}', '--set=quit_in_training.weight=1']
    done = call(tmp_path / 'runs', *flags, check=False)
    assert done.returncode == 2
    assert 'Error: a plug-in has called sys.exit(0) in training, after 0.00 kimg' in done.stderr
