"""calc_metrics.py: what it takes, what it prints and keeps, and that nothing is measured twice or lost."""

import dataclasses
import json
import zipfile

import click
import numpy as np
import pytest
from PIL import Image

from dnnlib.errors import ConfigError, DataError, UserError
from ganfoundry import meter as module
from ganfoundry import session
from ganfoundry.commands import calc_metrics
from tests.support.measured import FD, SquaredPixels, ToyDetector, make_run, measure, noise_images, refused, tiny_config
from tests.support.ranks import run_ranks
from tests.support.runs import call, make_zip
from training.run.lines import comparable
from training.run.run_folder import RunFolder

OFFICIAL_KEYS = {'results', 'metric', 'total_time', 'total_time_str', 'num_gpus', 'snapshot_pkl', 'timestamp'}


# --- what a line says --------------------------------------------------------


def test_a_line_has_the_official_keys_and_says_what_it_depends_on(run, detector, capsys):
    (line,) = measure(capsys, f'--network={run.snapshot(2000)}', FD, '--seed=5')
    assert line.keys() >= OFFICIAL_KEYS | {'snapshot', 'nimg', 'data', 'provenance'}
    assert (line['snapshot_pkl'], line['nimg'], line['num_gpus']) == ('network-snapshot-000002.safetensors', 2000, 1)
    expected = {'detector': 'efflite', 'digest': 'toy', 'preprocessing': 'toy', 'num_fakes': 16, 'num_reals': 16}
    expected |= {'seeds': [5], 'replicates': 0, 'precision': 'fp32', 'batch': 64}
    assert line['provenance'].items() >= expected.items()
    assert len(line['provenance']['reals_sha256']) == 64
    assert line['provenance']['versions'].keys() >= {'torch', 'numpy'}
    assert 'commit' in line['provenance']


def test_seeds_give_means_with_their_errors(run, detector, capsys):
    network = f'--network={run.snapshot(1000)}'
    singles = [measure(capsys, network, FD, f'--seed={seed}')[0]['results']['fd_efflite16'] for seed in (3, 4, 5)]
    (line,) = measure(capsys, network, FD, '--seed=3', '--seeds=3')
    results = line['results']
    assert results['fd_efflite16'] == pytest.approx(np.mean(singles))
    assert results['fd_efflite16_std'] == pytest.approx(np.std(singles, ddof=1) / np.sqrt(3))
    assert results['fd_efflite16_low95'] < results['fd_efflite16'] < results['fd_efflite16_high95']
    assert [line['by_seed'][str(seed)]['fd_efflite16'] for seed in (3, 4, 5)] == singles
    assert line['provenance']['seeds'] == [3, 4, 5]


def test_a_bootstrap_gives_the_same_number_with_its_error(run, detector, capsys):
    network = f'--network={run.snapshot(1000)}'
    plain, with_error = measure(capsys, network, FD), measure(capsys, network, FD, '--bootstrap=4')
    assert with_error[0]['results']['fd_efflite16'] == plain[0]['results']['fd_efflite16']
    assert with_error[0]['results']['fd_efflite16_std'] > 0


def test_names_are_taken_with_spaces_and_once(run, detector, capsys):
    lines = measure(capsys, f'--network={run.path}', '--metrics=fd_efflite16, fd_efflite16,kid_efflite16')
    assert [line['metric'] for line in lines] == ['fd_efflite16', 'kid_efflite16'] * 3
    again = measure(capsys, f'--network={run.path}', '--metrics=fd_efflite16,fd_efflite16')
    assert [line['nimg'] for line in again] == [3000, 2000, 1000]


def test_a_cpu_measures_two_thousand_images_by_default(tmp_path, data, detector, capsys):
    (line,) = measure(capsys, data, f'--data={data}')
    assert line['metric'] == 'fd_efflite24'  # the set has 24 of the 2,000 images


# --- several processes -------------------------------------------------------


@pytest.mark.slow
def test_two_processes_measure_what_one_measures(run, tmp_path, data):
    """--gpus=2, through the launcher: the same bits, two targets whose processes share the images of both."""
    words = [str(run.snapshot(1000)), str(noise_images(tmp_path / 'noise', 70)), f'--data={data}', '--device=cpu']
    words += ['--records=-', '--no-cache', '--metrics=kid_efflite70_full,pr_efflite66_full', '--bootstrap=2']

    def lines(*flags):
        done = call(tmp_path, *words, *flags, script='calc_metrics.py')
        return [json.loads(line) for line in done.stdout.splitlines()]

    one, two = lines(), lines('--gpus=2')
    assert [line['num_gpus'] for line in two[:4]] == [2] * 4
    assert [line.get('results', line.get('sentence')) for line in two] == [
        line.get('results', line.get('sentence')) for line in one
    ]
    assert len(one) == 4 + 3  # two metrics of two targets; a distance, a precision and a recall compared


def test_a_process_that_cannot_open_its_target_is_told_by_the_first(run, detector, capfd, monkeypatch):
    def task(world):
        monkeypatch.setattr('ganfoundry.measuring.join_world', lambda device: world)
        if world.rank == 1:
            monkeypatch.setattr(
                session, 'load_snapshot', lambda path: (_ for _ in ()).throw(DataError(f'{path}: gone'))
            )
        words = [str(run.snapshot(1000)), '--metrics=fd_efflite99', '--device=cpu', '--no-cache']
        try:
            calc_metrics.main.main(words, standalone_mode=False)
        except UserError as error:
            return str(error)

    first, second = run_ranks(2, task)
    assert first == f'rank 1 of 2: DataError: {run.snapshot(1000)}: gone'
    assert second is None


# --- snapshots and run folders -----------------------------------------------


def test_results_stand_in_the_run_folder_once(run, detector, capsys):
    for _ in range(2):
        (line,) = measure(capsys, run.snapshot(2000), FD)
    assert [found['results'] for found in run.results('fd_efflite16')] == [line['results']]
    assert (run.path / 'metric-fd_efflite16.png').exists()
    measure(capsys, run.snapshot(2000), FD, '--seed=1')
    assert [found['seed'] for found in run.results('fd_efflite16')] == [0, 1]


def test_a_snapshot_outside_a_run_leaves_nothing_behind(tmp_path, run, detector, capsys):
    lonely = (tmp_path / 'alone').mkdir() or tmp_path / 'alone' / 'net.safetensors'
    lonely.write_bytes(run.snapshot(1000).read_bytes())
    assert len(measure(capsys, lonely, FD)) == 1
    assert list(lonely.parent.iterdir()) == [lonely]


def test_a_run_folder_is_measured_newest_first_and_only_once(run, detector, capsys):
    measure(capsys, run.snapshot(2000), FD)
    seen = detector.images
    lines = measure(capsys, f'--network={run.path}', FD, '--no-plot')
    assert [line['nimg'] for line in lines] == [3000, 2000, 1000]
    assert detector.images == seen + 16 + 2 * 16  # the reals once, and two snapshots
    assert [line['nimg'] for line in run.results('fd_efflite16')] == [2000, 3000, 1000]
    assert [line['nimg'] for line in run.curve('fd_efflite16')] == [1000, 2000, 3000]


def test_a_kill_loses_no_more_than_the_metric_in_work(run, detector, capsys, monkeypatch):
    calls = []

    def killed(images):
        calls.append(1)
        if len(calls) == 4:  # reals, two snapshots, and the third one
            raise KeyboardInterrupt
        return ToyDetector()(images)

    monkeypatch.setattr(module, 'get_detector', lambda name, device: Killed(killed))
    with pytest.raises(click.Abort):
        measure(capsys, run.path, FD)
    with run.metric('fd_efflite16').open('a') as file:
        file.write('{"results": {"fd_')  # cut by the kill
    monkeypatch.setattr(module, 'get_detector', lambda name, device: detector)
    assert len(measure(capsys, run.path, FD)) == 3
    assert [line['nimg'] for line in run.results('fd_efflite16')] == [3000, 2000, 1000]
    assert detector.images == 16 + 16


class Killed(ToyDetector):
    def __init__(self, look):
        super().__init__()
        self.look = look

    def __call__(self, images):
        return self.look(images)


def test_a_number_against_other_images_is_another_curve(tmp_path, run, detector, capsys):
    other = make_zip(tmp_path / 'other.zip', num_images=20)
    measure(capsys, run.snapshot(1000), FD)
    (line,) = measure(capsys, run.snapshot(1000), FD, f'--data={other}')
    assert line['data'] == 'other'
    assert len(run.results('fd_efflite16')) == 1
    assert len(run.results('fd_efflite16-other')) == 1


def test_the_images_of_the_training_metrics_are_the_default(tmp_path, data, detector, capsys):
    other = make_zip(tmp_path / 'all.zip', num_images=30)
    folder = make_run(tmp_path / 'apart', tiny_config(data, metric_data=str(other)), (1000,))
    (line,) = measure(capsys, folder.path, '--metrics=fd_efflite16_full')
    assert (line['data'], line['provenance']['num_reals']) == ('all', 30)
    assert len(folder.results('fd_efflite16_full')) == 1


def test_labels_of_a_conditional_network_are_part_of_the_record(tmp_path, data, detector, capsys):
    cfg = tiny_config(data)
    cfg = dataclasses.replace(cfg, data=dataclasses.replace(cfg.data, cond=True))
    folder = make_run(tmp_path / 'cond', cfg, (1000,))
    (line,) = measure(capsys, folder.path, FD)
    assert line['provenance']['labels_sha256'] == line['provenance']['reals_sha256']
    plain = make_zip(tmp_path / 'more.zip', num_images=20, classes=2)
    assert 'its labels have 2 entries, those of the network 3' in refused(folder.path, FD, f'--data={plain}')


def relabeled(source, path, label_of):
    """Writes the images of a zip with other labels. label_of: function from the number of an image to its label."""
    with zipfile.ZipFile(source) as archive, zipfile.ZipFile(path, 'w') as other:
        names = [name for name in archive.namelist() if name != 'dataset.json']
        for name in names:
            other.writestr(name, archive.read(name))
        other.writestr('dataset.json', json.dumps({'labels': [[name, label_of(i)] for i, name in enumerate(names)]}))
    return path


def test_a_metric_that_reads_labels_is_measured_again_after_they_have_changed(tmp_path, data, detector, capsys):
    cfg = tiny_config(data)
    cfg = dataclasses.replace(cfg, data=dataclasses.replace(cfg.data, cond=True), metric_data=str(tmp_path / 'all.zip'))
    relabeled(data, tmp_path / 'all.zip', lambda i: i % 3)
    folder, names = make_run(tmp_path / 'cond', cfg, (1000,)), '--metrics=div_efflite16_full,fd_efflite16_full'
    div, fd = measure(capsys, folder.path, names)
    assert measure(capsys, folder.path, names) == [div, fd]
    relabeled(data, tmp_path / 'all.zip', lambda i: i // 8)
    same_fd, other_div = measure(capsys, folder.path, names)
    assert same_fd == fd
    assert other_div['results'] != div['results']
    assert comparable(folder.results('div_efflite16_full')) == [other_div]  # one curve has one set of labels


def test_labels_that_cannot_be_used_prevent_only_the_metric_that_reads_them(tmp_path, data, detector, capsys):
    cfg = tiny_config(data)
    cfg = dataclasses.replace(cfg, data=dataclasses.replace(cfg.data, cond=True), metric_data=str(tmp_path / 'all.zip'))
    relabeled(data, tmp_path / 'all.zip', lambda i: -1)
    folder = make_run(tmp_path / 'cond', cfg, (1000,))
    with pytest.raises(DataError, match=r'dataset\.json'):
        measure(capsys, folder.path, '--metrics=div_efflite16_full,fd_efflite16_full')
    assert len(folder.results('fd_efflite16_full')) == 1


def test_official_networks_are_measured(golden, tmp_path, detector, capsys):
    reals = make_zip(tmp_path / 'reals.zip', num_images=20, resolution=32)
    (line,) = measure(capsys, golden / 'official_layout_uncond.pkl', FD, f'--data={reals}')
    assert line['snapshot_pkl'] == 'official_layout_uncond.pkl'


# --- finished images ---------------------------------------------------------


def test_the_reals_themselves_are_at_distance_zero(data, detector, capsys):
    (line,) = measure(capsys, f'--network={data}', f'--data={data}', '--metrics=fd_efflite50k_full')
    assert line['results'] == {'fd_efflite24_full': pytest.approx(0, abs=1e-6)}  # named by what there is
    assert line['images'] == 'tiny'
    assert line['provenance']['images_sha256'] == line['provenance']['reals_sha256']


def test_images_with_alpha_in_a_folder_are_measured_against_rgba(tmp_path, detector, capsys):
    images = noise_images(tmp_path / 'images', mode='RGBA')
    (line,) = measure(capsys, f'--images={images}', f'--data={images}', '--metrics=kid_efflite16')
    assert np.isfinite(line['results']['kid_efflite16'])


def test_gray_images_are_measured_as_gray_rgb(tmp_path, data, detector, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)  # the sheets of images that have no run folder are written here
    rgb, gray = noise_images(tmp_path / 'rgb'), tmp_path / 'gray'
    gray.mkdir()
    for path in rgb.iterdir():
        image = Image.open(path).convert('L')
        image.save(gray / path.name)
        image.convert('RGB').save(path)
    found = [
        measure(capsys, f'--images={images}', f'--data={reals}', f'{FD},mem_efflite16')
        for images, reals in ((rgb, data), (gray, data), (data, rgb), (data, gray))
    ]
    assert [line['results'] for line in found[0]] == [line['results'] for line in found[1]]
    assert [line['results'] for line in found[2]] == [line['results'] for line in found[3]]


def test_images_of_another_size_get_words_and_the_command_that_helps(tmp_path, data, detector):
    small = make_zip(tmp_path / 'small.zip', num_images=20, resolution=8)
    message = refused(f'--images={data}', f'--data={small}', FD)
    assert f'--data={small}: its images are 8x8 pixels, the generated ones 16x16' in message
    assert f'Try: python dataset_tool.py --source={small}' in message
    assert 'ImageSpec' not in message


def test_images_that_cannot_be_trained_on_are_measured(tmp_path, detector, capsys):
    odd = make_zip(tmp_path / 'odd.zip', num_images=20, resolution=19)
    (line,) = measure(capsys, odd, f'--data={odd}', '--metrics=fd_efflite16_full')
    assert line['provenance']['num_reals'] == 20


def test_a_metric_without_reals_reads_no_data_set(tmp_path, detector, capsys, monkeypatch):
    monkeypatch.setattr(module, 'Lpips', lambda device: SquaredPixels())
    data = make_zip(tmp_path / 'tiny.zip', num_images=24)
    run = make_run(tmp_path / 'run', tiny_config(data), (1000,))
    data.unlink()
    lines = measure(capsys, run.snapshot(1000), '--metrics=is_efflite20,ppl2_zend4')
    assert [line['metric'] for line in lines] == ['is_efflite20', 'ppl2_zend4']
    assert not {'reals', 'reals_sha256', 'num_reals'} & lines[0]['provenance'].keys()
    assert 'data' not in lines[0]
    assert [len(run.results(name)) for name in ('is_efflite20', 'ppl2_zend4')] == [1, 1]
    assert 'are not here; specify --data' in refused(run.snapshot(1000), f'{FD},is_efflite20')
    (line,) = measure(capsys, noise_images(tmp_path / 'images'), '--metrics=is_efflite20')
    assert line['images'] == 'images'


def test_an_official_network_without_labels_needs_no_data_for_its_paths(golden, detector, capsys, monkeypatch):
    monkeypatch.setattr(module, 'Lpips', lambda device: SquaredPixels())
    (line,) = measure(capsys, golden / 'official_layout_uncond.pkl', '--metrics=ppl2_wend4')
    assert line['results']['ppl2_wend4'] > 0
    message = refused(golden / 'official_layout_uncond.pkl', FD)
    assert message.endswith('(x.zip) are not here; specify --data')


@pytest.mark.parametrize(
    ('args', 'message'),
    [
        ((FD,), 'images do not say what to compare them with; please specify --data'),
        ((FD, '--seeds=3', '--data={images}'), '--bootstrap=20 gives their error'),
        (('--metrics=ppl_zend16', '--data={images}'), 'images alone have no paths'),
        ((FD, '--data={data}', '--gpus=0'), '--gpus must be at least 1'),
        ((FD, '--seeds=2', '--bootstrap=9'), 'choose one of them'),
        ((FD, '--bootstrap=1'), 'give 2 or more'),
        (('--metrics=,',), '--metrics is empty'),
        (('--metrics=fid50k_ful',), 'nearest: fid50k_full'),
        ((FD, 'B', 'C'), 'give one, or two (A B) to compare them'),
        ((FD, '--detector-path=inception'), 'expected NAME=FILE'),
        ((FD, '--detector-path=inception=a', '--detector-path=inception=b'), 'names inception twice'),
        (('--metrics=None',), '--metrics is empty'),
        (('--metrics=fd_efflite16,none',), "'none' contradicts the other names"),
        (('--metrics=FID50K_Full',), 'nearest: fid50k_full'),
    ],
)
def test_what_cannot_be_is_refused_with_the_way_out(tmp_path, data, detector, monkeypatch, args, message):
    monkeypatch.setattr(module, 'Lpips', lambda device: None)
    images = noise_images(tmp_path / 'images', num_images=4)
    assert message in refused(images, *[arg.format(images=images, data=data) for arg in args])


def test_nothing_to_measure_is_said(tmp_path):
    assert '--network must point to a file' in refused(FD)
    (tmp_path / 'config.json').write_text('{}')
    assert 'there is no network-snapshot' in refused(tmp_path, FD)
    assert 'nowhere.pkl' in refused(tmp_path / 'nowhere.pkl', FD)


# --- copies ------------------------------------------------------------------


def test_a_search_for_copies_shows_them_beside_the_reals(data, run, detector, capsys):
    (line,) = measure(capsys, run.snapshot(1000), '--metrics=mem_efflite16_full')
    assert 0 <= line['results']['mem_efflite16_full_authenticity'] <= 1
    with Image.open(run.path / 'mem_efflite16_full-network-snapshot-000001.png') as sheet:
        assert sheet.size[0] > 6 * 64
        assert sheet.size[1] > 16 * 64


def test_lines_of_other_definitions_are_no_part_of_a_curve(tmp_path):
    folder = RunFolder(tmp_path)
    lines = [
        {'results': {'fd': 9.0}, 'nimg': 1, 'provenance': {'reals_sha256': 'old'}},
        {'results': {'fd': 5.0}, 'nimg': 1, 'provenance': {'reals_sha256': 'new', 'seeds': [0]}},
        {'results': {'fd': float('nan')}, 'nimg': 2, 'provenance': {'reals_sha256': 'new'}},
        {'results': {'fd': 6.0}, 'nimg': 1, 'provenance': {'reals_sha256': 'new', 'seeds': [1]}},
    ]
    folder.metric('fd').write_text(''.join(json.dumps(line) + '\n' for line in lines))
    assert [line['results']['fd'] for line in folder.curve('fd')] == [6.0]


def test_a_mirrored_reference_needs_no_new_reals_for_full_metrics(run, detector, capsys):
    network = f'--network={run.snapshot(1000)}'
    plain, mirrored = (measure(capsys, network, '--metrics=fd_efflite16_full', *more) for more in ([], ['--mirror=1']))
    assert plain[0]['results'] == mirrored[0]['results']


def test_an_unknown_metric_is_refused_before_anything_is_read():
    with pytest.raises(ConfigError, match='unknown metric'):
        calc_metrics.main.main(['--network=nowhere', '--metrics=fd_nothing5k'], standalone_mode=False)
