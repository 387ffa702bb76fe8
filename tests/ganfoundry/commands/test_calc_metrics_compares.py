"""calc_metrics.py with two networks or sets of images: words about the difference, and its records."""

import json

from ganfoundry.commands import calc_metrics
from tests.support.measured import FD, make_run, measure, noise_images, refused, tiny_config
from tests.support.runs import make_zip


def test_a_network_does_not_differ_from_its_copy(tmp_path, run, detector, capsys):
    copy = tmp_path / 'copy.safetensors'
    copy.write_bytes(run.snapshot(1000).read_bytes())
    lines = measure(capsys, run.snapshot(1000), copy, FD)
    assert [line.get('metric') for line in lines] == ['fd_efflite16', 'fd_efflite16', None]
    assert (lines[2]['difference'], lines[2]['significant'], lines[2]['better']) == (0, False, None)
    assert lines[2]['sentence'].startswith('fd_efflite16: no significant difference. network-snapshot-000001.safeten')
    assert 'was named twice' in refused(run.snapshot(1000), f'--network={run.snapshot(1000)}', FD)


def test_noise_is_worse_than_the_data(tmp_path, data, detector, capsys):
    images = noise_images(tmp_path / 'images')
    lines = measure(capsys, data, f'--images={images}', f'--data={data}', FD)
    assert lines[2]['significant']
    assert lines[2]['p'] < 0.05
    assert lines[2]['better'] == 'tiny.zip'
    assert lines[2]['sentence'].startswith('fd_efflite16: tiny.zip is better. ')
    assert 'is larger than noise' in lines[2]['sentence']


def test_a_comparison_prints_words_and_keeps_its_records_in_a_file(tmp_path, data, detector, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    images = noise_images(tmp_path / 'images', 40)
    more = make_zip(tmp_path / 'more.zip', num_images=40)
    words = [str(more), f'--images={images}', f'--data={data}', '--metrics=fd_efflite16,is_efflite40']
    for where, extra in (('comparison.jsonl', []), ('mine.jsonl', ['--records=mine.jsonl'])):
        capsys.readouterr()
        calc_metrics.main.main([*words, *extra, '--device=cpu', '--no-cache'], standalone_mode=False)
        printed = capsys.readouterr()
        sentences = printed.out.splitlines()
        assert sentences[0].startswith('fd_efflite16: more.zip is better. ')
        assert sentences[1].startswith('is_efflite40_mean: ')  # a spread has no error from halves
        assert len(sentences) == 2
        assert printed.err.splitlines()[-1] == f'{where}: the records of both'
        records = [json.loads(line) for line in (tmp_path / where).read_text().splitlines()]
        assert [record.get('metric', record.get('comparison')) for record in records] == [
            *['fd_efflite16', 'is_efflite40'] * 2,
            *['fd_efflite16', 'is_efflite40_mean'],
        ]
    message = refused(*words, '--records=absent/mine.jsonl')
    assert message == '--records=absent/mine.jsonl: there is no folder absent'


def test_networks_of_the_same_run_are_compared_seed_by_seed(run, detector, capsys):
    lines = measure(capsys, run.snapshot(1000), run.snapshot(2000), FD, '--seeds=3')
    assert lines[2]['method'] == 'paired over 3 seeds'


def test_networks_of_different_data_need_common_ones(tmp_path, run, detector):
    other = make_run(tmp_path / 'other', tiny_config(make_zip(tmp_path / 'b.zip', num_images=20)), (1000,))
    assert 'say with --data which ones' in refused(run.path, other.path, FD)
