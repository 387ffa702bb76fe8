"""Input of users: every mistake gives one clear line and exit code 2, and nothing is made or lost."""

import json
import resource
import shutil
import subprocess
import sys

import click
import numpy as np
import PIL.Image
import pytest
import torch

from dnnlib.errors import UserError
from ganfoundry.commands import calc_metrics, generate, train
from ganfoundry.drawing import draw_seeds
from tests.conftest import ROOT
from tests.support.runs import FEW_STEPS, TINY, call, make_zip, only_run
from training.run.snapshot import load_generator, load_snapshot


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    return make_zip(tmp_path_factory.mktemp('data') / 'tiny.zip')


@pytest.fixture(scope='module')
def run(tmp_path_factory, data):
    """A finished conditional run of one kimg."""
    outdir = tmp_path_factory.mktemp('runs')
    call(outdir, f'--data={data}', '--cfg=squeeze', '--cond=1', '--kimg=1', *TINY, *FEW_STEPS)
    return only_run(outdir)


@pytest.fixture(scope='module')
def snapshot(run):
    return max(run.glob('network-snapshot-*.safetensors'))


def refusal(command, *args):
    """Returns the message with which a command line refuses its arguments."""
    with pytest.raises((UserError, click.UsageError)) as error:
        command.main([str(arg) for arg in args], standalone_mode=False)
    message = str(error.value) or error.value.format_message()
    assert '\n' not in message
    return message


@pytest.mark.parametrize(
    ('flags', 'message'),
    [
        (['--cfg=squeze'], "unknown --cfg 'squeze': did you mean 'squeeze'? known: auto"),
        (['--set', 'r1.gama=2'], "'r1.gama' is not a config field; did you mean 'gamma'?"),
        (['--set', 'generatr.ratio=2'], "'generatr' is not a config field; did you mean 'generator'?"),
        (['--set', 'r1.gamma'], '--set r1.gamma: expected FIELD=VALUE'),
        (['--set', 'r1.gamma=high'], 'r1.gamma=high: expected a number'),
        (['--cfg=squeeze', '--set', 'generator.rgb=top'], 'generator.rgb=top: choose one of squeeze, pre, excite'),
        (['--cfg=squeeze', '--set', 'generator.ratio=0'], 'ratio=0: must be at least 1'),
        (['--set', 'generator.ratio=4'], "'generator.ratio' is not a config field"),
        (['--set', 'data.mirror=1'], '--set data.mirror=1: other fields follow from this one; set it by --data'),
        (['--set', 'precision=fp32'], 'set it by --precision'),
        (['--gamma=-1'], '--gamma must be non-negative'),
        (['--kimg=0'], '--kimg must be at least 1'),
        (['--batch=0'], '--batch must be at least 1'),
        (['--batch=8', '--batch-gpu=3'], '--batch must be a multiple of --gpus times --batch-gpu = 1 x 3'),
        (['--batch=6', '--mbstd-group=4'], 'must be a multiple of the minibatch-std group, 4'),
        (['--gpus=0'], '--gpus must be at least 1'),
        (['--gpus=3', '--batch=8'], '--batch must be at least 1 and divisible by --gpus'),
        (['--gpus=2', '--batch=8', '--batch-gpu=8'], 'must be a multiple of --gpus times --batch-gpu = 2 x 8'),
        (['--deterministic=1', '--batch=6'], 'under --deterministic it must be a multiple of 4'),
        (['--timeout=0'], '--timeout must be positive'),
        (['--seed=-1'], 'must'),
        (['--metrics=fid50k_ful'], 'nearest: fid50k_full'),
        (['--metrics=fd_eflite2k'], 'unknown metric'),
        (['--precision=half'], "'half' is not one of 'auto', 'fp32', 'bf16', 'fp16'"),
        (['--device=tpu'], '--device=tpu: choose cpu or cuda'),
        (['--plugin=nowhere.py'], '--plugin: no such file'),
        (['--resume=nowhere.safetensors'], 'nowhere.safetensors: no such file'),
        (['--resume=latest'], '--resume=latest: no run in'),
        (['--resume=ffhq.pkl'], '--resume=ffhq.pkl: no such file'),
        (['--subset=0'], '--subset=0: must be at least 1'),
        (['--resolution=48'], 'must be a power of two'),
        (['--resolution=8', '--cfg=squeeze'], '--cfg=squeeze: draws images from 16x16 up, the data are 8x8'),
        (['--resolution=128'], '128'),
        (['--frobnicate=1'], 'No such option'),
    ],
)
def test_a_wrong_flag_is_named_with_the_way_out(tmp_path, data, flags, message):
    assert message in refusal(train.main, f'--outdir={tmp_path / "runs"}', f'--data={data}', *flags)
    assert not (tmp_path / 'runs').exists()


@pytest.mark.parametrize('name', ['absent.zip', 'empty.zip', 'text.zip', 'folder'])
def test_data_that_cannot_be_used_is_named(tmp_path, name):
    path = tmp_path / name
    if name == 'empty.zip':
        import zipfile

        zipfile.ZipFile(path, 'w').close()
    elif name == 'text.zip':
        path.write_text('no zip')
    elif name == 'folder':
        path.mkdir()
    assert str(path) in refusal(train.main, f'--outdir={tmp_path / "runs"}', f'--data={path}')
    assert not (tmp_path / 'runs').exists()


def test_labels_that_are_not_there_are_asked_for(tmp_path):
    (tmp_path / 'images').mkdir()
    PIL.Image.fromarray(np.zeros([16, 16, 3], np.uint8)).save(tmp_path / 'images' / 'a.png')
    message = refusal(train.main, f'--outdir={tmp_path}', f'--data={tmp_path / "images"}', '--cond=1')
    assert '--cond=True requires labels specified in dataset.json' in message


def test_a_folder_that_cannot_be_written_is_named(tmp_path, data):
    (tmp_path / 'file').write_text('')
    assert 'cannot make a run folder there' in refusal(train.main, f'--outdir={tmp_path / "file"}', f'--data={data}')


@pytest.mark.slow
def test_an_error_is_one_line_and_exit_code_2(tmp_path):
    done = call(tmp_path, '--cfg=nothing', check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("Error: unknown --cfg 'nothing'")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.slow
@pytest.mark.parametrize('script', sorted(path.name for path in ROOT.glob('*.py')))
def test_help_answers_in_under_a_second(script):
    """Measures the time of the processor: the machine may be busy."""

    def seconds():
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run([sys.executable, ROOT / script, '--help'], capture_output=True, text=True, check=True)
        assert 'Usage' in done.stdout
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    assert any(seconds() < 1 for _ in range(3))


def test_a_dry_run_is_short_begins_with_the_data_and_writes_nothing(tmp_path, data, capsys):
    small = ['--cbase=192', '--cmax=16', '--map-depth=2', '--device=cpu', '--kimg=1', '--metrics=none']
    flags = ['-n', f'--outdir={tmp_path / "runs"}', f'--data={data}', '--cfg=squeeze', *small]
    train.main.main(flags, standalone_mode=False)
    short = capsys.readouterr().out
    assert short.startswith(f'Data: 40 images of 16x16, RGB, 8 bits, no labels\n  from {data}\n')
    for part in ('Networks: --cfg=squeeze', 'multiply-adds per image', 'Schedule: 1 kimg', 'Disk: about', 'Time: about',
                 'Memory: about', 'no run folder was made'):  # fmt: skip
        assert part in short
    assert len(short.splitlines()) < 20
    train.main.main([*flags, '-v'], standalone_mode=False)
    whole = capsys.readouterr().out
    for part in ('"ratio": 8', 'Generator', 'synthesis.b16.squeeze', 'Discriminator', 'total', 'Data: 40 images'):
        assert part in whole
    assert not (tmp_path / 'runs').exists()


def test_a_dry_run_says_what_a_transfer_would_take(tmp_path, data, snapshot, capsys):
    flags = ['-n', f'--outdir={tmp_path / "runs"}', f'--data={data}', '--cfg=squeeze', f'--resume={snapshot}']
    train.main.main([*flags, *TINY], standalone_mode=False)
    printed = capsys.readouterr().out
    assert f'transfer: from {snapshot}' in printed
    assert 'transfer: G took ' in printed
    assert 'transfer: D took ' in printed
    assert not (tmp_path / 'runs').exists()


def test_the_list_shows_every_architecture_with_paper_size_and_options(data, capsys):
    train.main.main(['--cfg=list', '--resolution=16', f'--data={data}'], standalone_mode=False)
    listed = capsys.readouterr().out
    for part in ('auto\n', 'paper1024\n', 'squeeze\n', 'arXiv 2407.05527', 'at 16x16: G ', ' multiply-adds; D ',
                 'rgb=squeeze|pre|excite'):  # fmt: skip
        assert part in listed


# ---- resuming


@pytest.mark.slow
def test_a_run_goes_on_only_with_its_own_data_and_architecture(run, data):
    assert '--cfg=auto: this run began with squeeze' in refusal(train.main, f'--resume={run}', '--cfg=auto')
    assert '/else.zip: the images of --data are not there' in refusal(train.main, f'--resume={run}', '--data=/else.zip')
    assert '--mirror=True: this run began with False' in refusal(train.main, f'--resume={run}', '--mirror=1')
    assert '--seed=3: this run began with 0' in refusal(train.main, f'--resume={run}', '--seed=3')
    assert 'nothing to do' in call(run.parent, f'--resume={run}', f'--data={data}', '--cfg=squeeze', '--cond=1').stdout


def test_changed_data_are_noticed_on_resume(tmp_path, run, data):
    copy = shutil.copytree(run, tmp_path / '00000-copy')
    record = json.loads((copy / 'config.json').read_text())
    other = make_zip(tmp_path / 'other.zip', num_images=30)
    record['config']['data']['path'] = str(other)
    (copy / 'config.json').write_text(json.dumps(record))
    assert 'other images than those that this run began with' in refusal(train.main, f'--resume={copy}')


def test_a_state_of_another_architecture_is_refused(tmp_path, run):
    copy = shutil.copytree(run, tmp_path / '00000-copy')
    record = json.loads((copy / 'config.json').read_text())
    record['config']['generator']['ratio'] = 2
    (copy / 'config.json').write_text(json.dumps(record))
    message = refusal(train.main, f'--resume={copy}')
    assert 'a state of another architecture' in message
    assert 'G.synthesis.b8' in message


@pytest.mark.slow
def test_what_changed_around_a_run_is_told_on_resume(tmp_path, run):
    copy = shutil.copytree(run, tmp_path / '00000-copy')
    record = json.loads((copy / 'config.json').read_text())
    record['versions']['torch'] = '2.9.0'
    record['threads'] = 64
    (copy / 'config.json').write_text(json.dumps(record))
    done = call(tmp_path, f'--resume={copy}')
    assert 'WARNING: versions' in done.stdout
    assert 'WARNING: threads 64 when the run began, 1 now' in done.stdout


@pytest.mark.slow
def test_a_longer_run_continues_and_says_what_changed(tmp_path, run):
    copy = shutil.copytree(run, tmp_path / '00000-copy')
    done = call(tmp_path, f'--resume={copy}', '--kimg=2', '--snap=100')
    assert 'changed for this launch: kimg 1 -> 2' in done.stdout
    assert (copy / 'network-snapshot-000002.safetensors').exists()


# ---- generate.py


def png(path):
    with PIL.Image.open(path) as picture:
        return np.asarray(picture), picture.text


@pytest.mark.slow
def test_images_are_drawn_one_a_seed_with_their_record(tmp_path, snapshot):
    call(tmp_path, f'--network={snapshot}', '--seeds=0,3,8-9', '--class=1', '--trunc=0.7', f'--outdir={tmp_path / "o"}',
         script='generate.py')  # fmt: skip
    assert sorted(path.name for path in (tmp_path / 'o').iterdir()) == [f'seed{s:04d}.png' for s in (0, 3, 8, 9)]
    pixels, text = png(tmp_path / 'o' / 'seed0003.png')
    assert pixels.shape == (16, 16, 3)
    assert text['seed'] == '3'
    assert text['truncation_psi'] == '0.7'
    assert len(text['network_sha256']) == 64


@pytest.mark.parametrize('noise', ['const', 'random', 'none'])
def test_a_seed_is_the_same_image_alone_or_in_company(tmp_path, snapshot, noise):
    for seeds in ('5', '2-6'):
        generate.main.main([f'--network={snapshot}', f'--seeds={seeds}', '--class=0', f'--noise-mode={noise}',
                            f'--outdir={tmp_path / seeds}', '--device=cpu'], standalone_mode=False)  # fmt: skip
    assert np.array_equal(png(tmp_path / '5' / 'seed0005.png')[0], png(tmp_path / '2-6' / 'seed0005.png')[0])


def test_a_seed_means_the_latent_that_stylegan_users_know(snapshot, monkeypatch):
    latents = []

    class Spy:
        c_dim, z_dim = 0, 512

        def parameters(self):
            import torch

            return iter([torch.zeros(1)])

        def __call__(self, z, c, **kwargs):
            import torch

            latents.append(z)
            return torch.zeros(len(z), 3, 4, 4)

    import torch

    draw_seeds(Spy(), [0, 85], torch.zeros(1, 0))
    expected = [[1.764052, 0.400157, 0.978738, 2.240893], [0.176851, 2.377754, 0.998733, -1.310151]]
    assert latents[0][:, :4].numpy() == pytest.approx(np.array(expected), abs=1e-6)


def test_a_grid_is_one_image(tmp_path, snapshot):
    generate.main.main([f'--network={snapshot}', '--grid=4x2', '--class=2', f'--outdir={tmp_path}', '--device=cpu'],
                       standalone_mode=False)  # fmt: skip
    pixels, text = png(tmp_path / 'grid-seeds0-7-class_2.png')
    assert pixels.shape == (32, 64, 3)
    assert json.loads(text['seeds']) == list(range(8))


def test_projected_styles_draw_what_their_latent_draws(tmp_path, snapshot, capsys):
    cpu = torch.device('cpu')
    G = load_generator(load_snapshot(snapshot), cpu, 'fp32')
    z = torch.from_numpy(np.random.RandomState(7).randn(1, G.z_dim)).float()
    ws = G.mapping(z, torch.eye(3)[1:2])
    np.savez(tmp_path / 'w.npz', w=ws.numpy())
    common = [f'--network={snapshot}', f'--outdir={tmp_path}', '--device=cpu']
    generate.main.main([*common, f'--projected-w={tmp_path / "w.npz"}', '--trunc=0.5'], standalone_mode=False)
    assert capsys.readouterr().err == 'note: --trunc ignored: w is final\n'
    generate.main.main([*common, '--seeds=7', '--class=1'], standalone_mode=False)
    assert np.array_equal(png(tmp_path / 'proj00.png')[0], png(tmp_path / 'seed0007.png')[0])
    np.savez(tmp_path / 'other.npz', w=ws[:, 1:].numpy())
    assert '--projected-w=' in refusal(generate.main, *common, f'--projected-w={tmp_path / "other.npz"}')
    assert 'w is float32' in refusal(generate.main, *common, f'--latents={tmp_path / "other.npz"}')
    assert 'expected an .npz' in refusal(generate.main, *common, f'--projected-w={snapshot}')


@pytest.mark.parametrize(
    ('flags', 'message'),
    [
        ([], '--seeds is needed'),
        (['--seeds=1-', '--class=0'], '--seeds=1-: expected numbers and ranges such as 0,3,8-15'),
        (['--seeds=5-2', '--class=0'], 'a range goes up'),
        (['--seeds=1'], '--class is needed: this network is conditional, on classes 0 to 2'),
        (['--seeds=1', '--class=3'], '--class=3: this network knows classes 0 to 2'),
        (['--seeds=1', '--class=cat'], '--class=cat: the names of the classes are not known to this network'),
        (['--seeds=1', '--class=0:0.5+1:0.6'], 'the weights sum to 1.1; they must sum to 1'),
        (['--seeds=1', '--class=0', '--trunc=nan'], '--trunc=nan: expected a finite number'),
        (['--seeds=1', '--class=0', '--trunc=inf'], '--trunc=inf: expected a finite number'),
        (['--class=0', '--latents=absent.npz'], '--latents=absent.npz: expected an .npz'),
        (['--class=0', '--latents=1-3'], '--latents=1-3: expected FILE.npz'),
        (['--latents=a.npz', '--projected-w=a.npz'], '--projected-w is the old name of --latents'),
        (['--class=all', '--grid=4x4'], '--class=all has one row per class and one column per seed, 4x3'),
        (['--class=all', '--seeds=1', '--recalibrate'], '--recalibrate'),
        (['--from=absent.png'], 'absent.png: no such file'),
        (['--from=absent.png', '--seeds=1', '--trunc=1'], '--seeds, --trunc: --from takes this from the picture'),
        (['--grid=8', '--class=0'], '--grid=8: expected COLUMNSxROWS'),
        (['--grid=2x2', '--seeds=0-9', '--class=0'], 'fewer places than the 10 --seeds'),
    ],
)
def test_generate_refuses_by_name(tmp_path, snapshot, flags, message):
    outdir = tmp_path / 'out'
    assert message in refusal(generate.main, f'--network={snapshot}', f'--outdir={outdir}', *flags)
    assert not outdir.exists()


def test_a_file_that_is_no_snapshot_is_named(tmp_path, run):
    state = max((run / 'state').iterdir()) / 'tensors.safetensors'
    assert 'not a network snapshot of this project' in refusal(generate.main, f'--network={state}', '--seeds=0')
    broken = tmp_path / 'broken.safetensors'
    broken.write_bytes(b'\0' * 100)
    assert 'not a complete safetensors file' in refusal(generate.main, f'--network={broken}', '--seeds=0')


# ---- calc_metrics.py


@pytest.mark.slow
def test_a_metric_of_training_is_found_again(tmp_path, data):
    flags = [flag for flag in TINY if not flag.startswith('--metrics')]
    call(tmp_path, f'--data={data}', '--kimg=1', *flags, *FEW_STEPS, '--snap=1000', '--metrics=fd_efflite12')
    (line,) = [json.loads(text) for text in (only_run(tmp_path) / 'metric-fd_efflite12.jsonl').read_text().splitlines()]
    snapshot = only_run(tmp_path) / line['snapshot']
    done = call(tmp_path, f'--network={snapshot}', '--metrics=fd_efflite12', '--device=cpu', script='calc_metrics.py')
    assert json.loads(done.stdout)['results'] == line['results']


@pytest.mark.slow
def test_metrics_of_a_snapshot_are_printed_and_repeat(snapshot):
    def lines():
        metrics = '--metrics=fd_efflite12,pr_efflite12_full'
        done = call(snapshot.parent, f'--network={snapshot}', '--device=cpu', metrics, script='calc_metrics.py')
        return [json.loads(line) for line in done.stdout.splitlines()]

    first, again = lines(), lines()
    assert [line['metric'] for line in first] == ['fd_efflite12', 'pr_efflite12_full']
    assert [line['results'] for line in first] == [line['results'] for line in again]
    assert first[0]['results']['fd_efflite12'] > 0
    assert 0 <= first[1]['results']['pr_efflite12_full_precision'] <= 1
    assert first[0]['nimg'] == 1000


def test_metrics_against_images_of_another_size_are_refused(tmp_path, snapshot):
    other = make_zip(tmp_path / 'small.zip', resolution=8)
    message = refusal(calc_metrics.main, f'--network={snapshot}', '--metrics=fd_efflite32', f'--data={other}')
    assert 'its images are 8x8 pixels, the generated ones 16x16; metrics compare images of one size. Try: ' in message
