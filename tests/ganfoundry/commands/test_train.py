"""train.py --help: sections, a help text for every option, and defaults that are those of the recipes."""

import importlib
import re

import click
import pytest

from docs import flags as tables
from ganfoundry.cli import COMMANDS
from ganfoundry.commands import train
from ganfoundry.options import FLAGS
from tests.conftest import ROOT
from tests.support.recipes import own_recipes
from training.config import leaves_of
from training.interface import ImageSpec
from training.registry import RECIPES

BY_CFG = 'by --cfg'
# Defaults that follow from the machine or from other options.
MACHINE = {'metrics', 'workers', 'metric_data', 'allow_tf32', 'g_batch_gpu', 'd_batch_gpu'}
WORDS = {'0': ('0', '0.0', 'False'), '4': ('4', '4.0'), '600': ('600', '600.0')}


def options_of(name):
    """Returns the options of a command and of its subcommands."""
    main = importlib.import_module(f'ganfoundry.commands.{name.replace("-", "_")}').main
    context = click.Context(main)
    below = [main.get_command(context, each) for each in main.list_commands(context)] if isinstance(
        main, click.Group) else []  # fmt: skip
    return [param for each in (main, *below) for param in each.params if isinstance(param, click.Option)]


@pytest.mark.parametrize('name', COMMANDS)
def test_every_option_has_a_help_text_that_says_more_than_its_default(name):
    assert [
        param.opts for param in options_of(name) if not re.sub(r'\[default: .*\]', '', param.help or '').strip()
    ] == []


def shown_default(option):
    """Returns the default that --help shows, None for none."""
    if option.show_default:
        return str(option.default)
    found = re.search(r'\[default: (.*)\]', option.help)
    return found and found[1].partition(' for ')[0]  # '600 for several processes' holds 600


@pytest.mark.parametrize(
    'name', [name for name in tables.options_of('train') if not tables.options_of('train')[name].is_flag]
)
def test_every_option_that_takes_a_value_shows_its_default(name):
    option = tables.options_of('train')[name]
    assert shown_default(option) or option.multiple or name in ('p', 'nhwc')


def test_defaults_are_those_of_the_recipes():
    """A default is a literal only if all recipes share it."""
    leaves = []
    for name in own_recipes():
        recipe = RECIPES.get(name)
        for resolution in (64, 1024):
            spec = ImageSpec(resolution=resolution, channels=3, label_dim=0, num_images=1000)
            if resolution >= recipe.min_resolution:
                leaves.append(leaves_of(recipe.make(spec, 1)))
    wrong = []
    for name, paths in FLAGS.items():
        shown = shown_default(tables.options_of('train')[name])
        values = {str(leaf[path]) for leaf in leaves for path in paths if path in leaf}
        everywhere = len(values) == 1 and all(path in leaf for leaf in leaves for path in paths if name != 'freezed')
        if name in MACHINE or name == 'p':
            continue
        if shown == BY_CFG and everywhere:
            wrong.append(f'{name}: {values} everywhere')
        if shown != BY_CFG and (len(values) != 1 or not values & {shown, *WORDS.get(shown, ())}):
            wrong.append(f'{name}: {shown} is shown, there are {values}')
    assert wrong == []


def test_the_sections_of_help_are_those_of_the_page():
    text = (ROOT / 'docs' / tables.PAGES['train']).read_text()
    heading, headings = '', {}
    for line in text.splitlines():
        if line.startswith('## '):
            heading = line.removeprefix('## ')
        elif found := re.match(r'<!-- flags train: ([\w ]+) -->', line):
            headings |= dict.fromkeys(found[1].split(), heading)
    assert {option.name: option.section for option in train.main.params} == headings
