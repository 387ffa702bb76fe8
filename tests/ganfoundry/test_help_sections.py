"""Sections of --help."""

import click
from click.testing import CliRunner

from ganfoundry.help_sections import SectionCommand, section


def test_options_are_listed_under_their_sections_and_parsed_as_usual():
    data, machine = section('Data'), section('Machine')

    @click.command(cls=SectionCommand)
    @data('--data', help='Images.')
    @machine('--gpus', type=int, help='Processes.')
    @data('--cond', is_flag=True, help='Labels.')
    def command(data, gpus, cond):
        click.echo(f'{data} {gpus} {cond}')

    text = CliRunner().invoke(command, ['--help']).output
    lines = [line.strip() for line in text.splitlines() if line.strip()][1:]
    assert [line.split()[0] for line in lines] == [
        'Data:',
        '--data',
        '--cond',
        'Machine:',
        '--gpus',
        'Other:',
        '--help',
    ]
    assert CliRunner().invoke(command, ['--data=x', '--gpus=2']).output == 'x 2 False\n'
