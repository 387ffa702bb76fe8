"""Pages of the documentation: their code blocks, the command lines in them, and whether such a line can start."""

from __future__ import annotations

import ast
import re
import shlex
import textwrap
import tomllib
from importlib import import_module

import click

from ganfoundry.cli import commands
from ganfoundry.export.web_runtime import COMMAND
from metrics.spec import parse_metric
from tests.conftest import ROOT

COMMANDS = tuple(sorted(path.stem for path in ROOT.glob('*.py')))
BLOCK = re.compile(r'^( *)```(\w*)\n(.*?)^\1```', flags=re.DOTALL | re.MULTILINE)
INLINE = re.compile(r'`((?:python|ganfoundry|torchrun) [^`…]+)`')
# Lines of a block that start nothing of this project.
NOT_OURS = re.compile(r'export \w+=|\w+=\$\(|#|$')


def read(page: str) -> str:
    """Returns the text of a page by its path from the root."""
    return (ROOT / page).read_text()


def blocks_of(page: str) -> list[tuple[str, str]]:
    """Returns (language, code) for every code block of a page; a block without a language is a shell script."""
    found = BLOCK.findall(read(page))
    return [(language, textwrap.dedent(code)) for _, language, code in found]


def lines_of(page: str) -> list[list[str]]:
    """Returns the words of every line of the shell scripts of a page, or of the docstring of an example."""
    if page.endswith('.py'):
        text = '\n'.join(re.findall(r'^ {4}(python .*)', ast.get_docstring(ast.parse(read(page))) or '', re.MULTILINE))
    else:
        text = '\n'.join(code for language, code in blocks_of(page) if not language)
    lines = [line for line in text.replace('\\\n', ' ').splitlines() if not NOT_OURS.match(line)]
    return [shlex.split(re.sub(r'\s#.*', '', line)) for line in lines]


def inline_of(page: str) -> list[list[str]]:
    """Returns the words of every command line within a sentence, unless it leaves something out."""
    if page.endswith('.py'):
        return []
    return [shlex.split(line) for line in INLINE.findall(BLOCK.sub('', read(page))) if '...' not in line]


def parse(command: click.Command, args: list[str]) -> click.Context:
    """Parses a command line as click does before it calls the command, subcommands included."""
    context = command.make_context(command.name or 'command', list(args))
    if isinstance(command, click.Group) and (rest := [*context._protected_args, *context.args]):
        _, subcommand, rest = command.resolve_command(context, rest)
        return parse(subcommand, rest)
    return context


def check_line(words: list[str]) -> None:
    """Fails unless a line of a shell script starts something that exists, with options that it has."""
    match words:
        case ['srun', *rest]:
            check_line(rest)
        case ['torchrun', *rest]:
            check_torchrun(rest)
        case ['python', '-m', ('pytest' | 'tests.support.same_code'), *_]:
            pass
        case ['ganfoundry', '--version']:
            pass
        case ['ganfoundry', *args]:
            parse(commands, args)
        case ['python', '-m', 'training.legacy', *args]:
            parse(import_module('ganfoundry.commands.convert').main, args)
        case ['python', '-m', 'venv', _] | ['source', '.venv/bin/activate'] | ['curl', '-LO', _]:
            pass
        case ['pip', 'install', '-e', place]:
            check_extras(place)
        case ['npm', *args]:
            assert ' '.join(['npm', *args]) == COMMAND
        case ['python', '-m', module, *args]:
            assert not args
            assert (ROOT / f'{module.replace(".", "/")}.py').exists()
        case ['python', script, *args] if script.removesuffix('.py') in COMMANDS:
            check_command(script.removesuffix('.py'), args)
        case ['python', script, *args]:
            source = (ROOT / script).read_text()
            assert [arg for arg in args if arg.startswith('--') and f"'{arg.partition('=')[0]}'" not in source] == []
        case ['make', *targets]:
            makefile = (ROOT / 'Makefile').read_text()
            assert [name for name in targets if not re.search(rf'^{name}:', makefile, flags=re.MULTILINE)] == []
        case _:
            raise AssertionError('nothing of this project')


def check_extras(place: str) -> None:
    """Fails unless `.[NAME,NAME]` names extras of the project."""
    known = tomllib.loads((ROOT / 'pyproject.toml').read_text())['project']['optional-dependencies']
    assert [name for name in place.removeprefix('.[').removesuffix(']').split(',') if name not in known] == []


def check_command(name: str, args: list[str]) -> None:
    """Parses the options of a command, and the names of its metrics unless a plug-in or a file of the user has them."""
    params = parse(import_module(f'ganfoundry.commands.{name}').main, args).params
    if name == 'calc_metrics' and not params['detector_path'] and not params['plugin']:
        for metric in params['metrics'].split(','):
            parse_metric(metric)


def check_torchrun(args: list[str]) -> None:
    """Parses the options of torchrun, and those of the command that it starts."""
    from torch.distributed.run import get_args_parser

    parsed = get_args_parser().parse_args(args)
    check_line(['python', parsed.training_script, *parsed.training_script_args])
