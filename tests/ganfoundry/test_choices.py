"""Options with a fixed set of values: a near miss proposes the meant one."""

import click
import pytest

from ganfoundry.choices import Choice


def refusal(value, choices=('noaug', 'fixed', 'ada')):
    command = click.Command('x', params=[click.Option(['--aug'], type=Choice(choices))], callback=lambda aug: None)
    with pytest.raises(click.BadParameter) as error:
        command.main([f'--aug={value}'], standalone_mode=False)
    return error.value.format_message()


def test_a_value_of_the_set_is_taken():
    assert Choice(['fp32', 'bf16']).convert('bf16', None, None) == 'bf16'


def test_a_near_miss_proposes_the_nearest_value():
    assert refusal('fixd').endswith("'fixd' is not one of 'noaug', 'fixed', 'ada'; did you mean 'fixed'?")
    assert refusal('ADA').endswith("did you mean 'ada'?")


def test_a_value_that_is_near_to_none_has_the_message_of_click():
    assert refusal('zzzz').endswith("'zzzz' is not one of 'noaug', 'fixed', 'ada'.")
