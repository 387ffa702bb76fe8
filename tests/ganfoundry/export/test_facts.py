"""Facts about a network: those of its own snapshot in its own run, and nothing else."""

import json

import pytest

import ganfoundry as gf
from ganfoundry.export.card import card_of
from ganfoundry.export.facts import facts_of
from tests.support.measured import make_run, tiny_config
from tests.support.runs import make_zip
from training.run.run_folder import RunFolder
from training.run.snapshot import load_snapshot, write_snapshot


@pytest.fixture
def run(tmp_path):
    """A run folder with two snapshots, and lines of metrics and of ticks."""
    data = make_zip(tmp_path / 'tiny.zip', num_images=24)
    run = make_run(tmp_path / 'run', tiny_config(data), (1000, 2000))
    for nimg, value in ((1000, 9.0), (2000, 7.5), (2000, 7.0)):
        add(run, 'fid50k_full', nimg, {'fid50k_full': value, 'fid50k_full_std': 0.25, 'fid50k_full_low95': 6.5})
    add(run, 'mem_efflite10k', 2000, {'mem_efflite10k': 0.99})
    add(run, 'kid_gone10k', 2000, {'kid_gone10k': float('nan')})
    ticks = [{'nimg': nimg, 'Timing/total_hours': {'num': 1, 'mean': nimg / 1000, 'std': 0}} for nimg in (1000, 2000)]
    run.stats.write_text(''.join(json.dumps(tick) + '\n' for tick in ticks) + '{"half')
    return run


def add(run: RunFolder, metric, nimg, results):
    line = {'results': results, 'metric': metric, 'nimg': nimg, 'snapshot': run.snapshot(nimg).name}
    line['provenance'] = {'detector': 'inception', 'num_fakes': 50000}
    with run.metric(metric).open('a') as file:
        file.write(json.dumps(line) + '\n')


def test_the_last_measurement_of_this_snapshot_counts_with_its_error(run):
    facts = facts_of(gf.load(run.snapshot(2000), device='cpu'))
    fid, mem = facts.measured
    assert (fid.key, fid.value, fid.std, fid.detector) == ('fid50k_full', 7.0, 0.25, 'inception')
    assert str(fid) == '7 ± 0.25'
    assert (mem.key, str(mem), mem.is_memorization, fid.is_memorization) == ('mem_efflite10k', '0.99', True, False)
    assert (facts.hours, facts.data_name, facts.data_license) == (2.0, 'tiny', None)
    (fid,) = facts_of(gf.load(run.snapshot(1000), device='cpu')).measured
    assert fid.value == 9.0


def test_a_snapshot_in_another_place_has_no_metrics(run, tmp_path):
    copy = tmp_path / 'network-snapshot-000002.safetensors'
    copy.write_bytes(run.snapshot(2000).read_bytes())
    facts = facts_of(gf.load(copy, device='cpu'))
    assert (facts.measured, facts.hours) == ((), None)


def test_a_snapshot_that_another_run_holds_has_none_of_its_metrics(run):
    record = json.loads(run.config.read_text())
    run.config.write_text(json.dumps(record | {'run_id': '0' * 32}))
    assert facts_of(gf.load(run.snapshot(2000), device='cpu')).measured == ()
    run.config.write_text('{"half')
    assert facts_of(gf.load(run.snapshot(2000), device='cpu')).measured == ()


def test_the_embedded_data_set_has_its_name_and_license():
    facts = facts_of(gf.load('examples/networks/peeps32.safetensors', device='cpu'))
    assert (facts.data_name, facts.data_license, facts.measured) == ('peeps64', 'CC0 1.0', ())


def test_a_converted_network_claims_no_data_set_that_its_file_does_not_name(golden, tmp_path):
    snapshot = load_snapshot(golden / 'official_layout_uncond.pkl')
    snapshot.record['config']['data']['path'] = None
    write_snapshot(tmp_path / 'a.safetensors', snapshot.tensors, snapshot.record, 0)
    network = gf.load(tmp_path / 'a.safetensors', device='cpu')
    facts = facts_of(network)
    assert (facts.data_name, facts.data_license, facts.hours) == (None, None, None)
    card = card_of(network, facts, license='other', official=True, onnx=False)
    assert '# stylegan2, 32x32\n' in card
    assert '| Data set | not recorded |' in card
    assert '| Training | not recorded |' in card
    assert '| Converted from | official&#95;layout&#95;uncond.pkl, sha256 ' in card
