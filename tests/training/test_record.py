"""The record of a config: what it holds, and what it needs to be read back."""

import json

import pytest

from dnnlib.errors import ConfigError
from tests.support.steps import tiny
from training.config import FIELDS
from training.record import class_names, from_record, plugin_modules, to_record


def test_a_record_has_the_fields_in_order_and_rebuilds_the_config(dataset):
    cfg = tiny(dataset)
    record = json.loads(json.dumps(to_record(cfg, dataset.spec)))
    assert tuple(record['config']) == FIELDS
    assert record['config']['generator']['kind'] == 'stylegan2'
    assert from_record(record) == (cfg, dataset.spec)
    assert plugin_modules(cfg) == []


def test_a_record_with_an_unknown_term_or_loss_names_the_plug_in(dataset):
    record = to_record(tiny(dataset), dataset.spec) | {'plugins': [{'file': '/far/away.py'}]}
    message = r"unknown term 'far': .*; the run had the plug-ins /far/away\.py: load them by --plugin=FILE"
    with pytest.raises(ConfigError, match=message):
        from_record(record | {'config': record['config'] | {'far': {'weight': 1}}})
    with pytest.raises(ConfigError, match=r"unknown loss\.kind 'far'.*/far/away\.py"):
        from_record(record | {'config': record['config'] | {'loss': {'kind': 'far'}}})


def test_a_record_with_an_unknown_cfg_names_its_plug_in(dataset):
    record = to_record(tiny(dataset), dataset.spec) | {'plugin': {'file': '/far/ring.py'}}
    with pytest.raises(ConfigError, match=r"unknown --cfg 'ring'.*; the run had the plug-ins /far/ring\.py: load"):
        from_record(record | {'config': record['config'] | {'cfg': 'ring'}})


def test_names_of_classes_are_those_of_all_classes_or_none(dataset):
    record = to_record(tiny(dataset), dataset.spec)
    assert class_names(record | {'classes': ['cat', 'dog']}, 2) == ('cat', 'dog')
    for names in ('cat', ['cat'], ['cat', 3], {'cat': 1}, None):
        assert class_names(record | {'classes': names}, 2) == ()
    assert class_names(record, 2) == ()
