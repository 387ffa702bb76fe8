"""A new run that starts from the networks of another: what fits is taken, and of every tensor it is said."""

import copy
import http.server
import json
import shutil
import threading
from functools import partial
from pathlib import Path

import pytest
import torch

from dnnlib import download, files
from dnnlib.errors import CheckpointError, DataError, DownloadError
from ganfoundry.commands import calc_metrics, generate, train
from tests.support.runs import TINY, call, last_state, losses, make_zip, only_run
from torch_utils.checkpoint import load_state, load_tensors
from training.build import build
from training.config import apply_overrides
from training.interface import ImageSpec
from training.record import from_record
from training.registry import RECIPES
from training.run import transfer as module
from training.run.snapshot import load_snapshot
from training.run.transfer import ABSENT, UNKNOWN, Source, load_source, transfer
from training.state import NETWORKS

SMALL = {'generator.z_dim': 16, 'generator.w_dim': 16} | {
    f'{net}.channel_{what}': value
    for net in ('generator', 'discriminator')
    for what, value in (('base', 192), ('max', 16))
}


def state_of(cfg='auto', *, resolution=16, channels=3, label_dim=0, seed=0, **changes):
    """Returns the beginning of a run of tiny networks."""
    spec = ImageSpec(resolution=resolution, channels=channels, label_dim=label_dim, num_images=10)
    changes = SMALL | {'seed': seed} | {name.replace('__', '.'): value for name, value in changes.items()}
    return build(apply_overrides(RECIPES.get(cfg).make(spec, 1), changes), spec, torch.device('cpu'))


def source_of(state, networks=('G_ema', 'D')):
    """Returns the contents of a snapshot of a state."""
    tensors = {f'{net}.{k}': t.clone() for net in networks for k, t in getattr(state, net).state_dict().items()}
    return Source(tensors=tensors, origin={'given': 'a', 'file': 'a', 'sha256': '0' * 64})


def take(state, source):
    """Returns the reports by network, the summary, and the lines of the log."""
    said, details = [], []
    report = transfer({name: getattr(state, name) for name in NETWORKS}, source, said.append, details.append)
    return report['networks'], said, details


def same(net, other):
    own, there = net.state_dict(), other.state_dict()
    return own.keys() == there.keys() and all(torch.equal(own[name], there[name]) for name in own)


def test_a_run_of_the_same_networks_takes_all_and_says_so():
    old, new = state_of(seed=1), state_of()
    networks, said, details = take(new, source_of(old))
    assert same(new.G, old.G_ema)
    assert same(new.G_ema, old.G_ema)
    assert same(new.D, old.D)
    assert all(not report['skipped'] and report['share'] == pytest.approx(1) for report in networks.values())
    num = len(old.G.state_dict())
    assert said[1:3] == [
        f"transfer: G took {num} tensors of the file's G_ema, 100.0% of its numbers",
        f"transfer: D took {len(old.D.state_dict())} tensors of the file's D, 100.0% of its numbers",
    ]
    assert len(details) == 2 * num + len(old.D.state_dict())
    assert details[0].endswith(': taken')


def test_a_training_state_gives_its_own_G():
    old, new = state_of(seed=1), state_of()
    old.G_ema.mapping.fc0.weight.data.zero_()
    take(new, source_of(old, ('G', 'D', 'G_ema')))
    assert same(new.G, old.G)
    assert same(new.G_ema, old.G_ema)


def test_labels_that_join_leave_every_image_as_it_was():
    old, new = state_of(seed=1), state_of(label_dim=3)
    networks, said, _ = take(new, source_of(old))
    assert networks['G']['widened'] == ['mapping.fc0.weight']
    assert networks['G']['skipped'] == {'mapping.embed.weight': ABSENT, 'mapping.embed.bias': ABSENT}
    assert 'widened 1' in said[1]
    assert networks['D']['skipped']['b4.out.weight'].startswith('another shape: [1, 16] in the file, [16, 16] here')
    assert networks['D']['skipped']['mapping.fc0.weight'] == ABSENT
    meta = {name: copy.deepcopy(getattr(new, name)).to('meta') for name in NETWORKS}
    assert transfer(meta, source_of(old), print, print)['networks'] == networks
    z = torch.randn([4, 16], generator=torch.Generator().manual_seed(0))  # [N, z_dim]
    with torch.no_grad():
        before = old.G_ema(z, None, noise_mode='const')  # [N, C, H, W]
        for label in torch.eye(3):
            after = new.G(z, label.expand(4, -1), noise_mode='const')
            torch.testing.assert_close(after, before, rtol=1e-4, atol=1e-4)
    new.G.requires_grad_(True)
    new.G(z, torch.eye(3)[[0, 1, 2, 0]]).square().sum().backward()
    assert new.G.mapping.fc0.weight.grad[:, 16:].abs().sum() > 0  # a label can be learned


def test_labels_that_leave_are_not_cut_off():
    networks, _, _ = take(state_of(), source_of(state_of(label_dim=3)))
    skipped = networks['G']['skipped']
    assert skipped['mapping.fc0.weight'] == (
        'another shape: [16, 32] in the file, [16, 16] here, keeps its initial value'
    )
    assert skipped['mapping.embed.weight'] == UNKNOWN
    assert networks['G']['widened'] == []


@pytest.mark.parametrize(('there', 'here'), [(1, 3), (3, 4), (4, 3)])
def test_nothing_is_broadcast_between_grey_rgb_and_rgba(there, here):
    new, fresh = state_of(channels=here), state_of(channels=here)
    networks, _, _ = take(new, source_of(state_of(channels=there, seed=1)))
    for block in ('b4', 'b8', 'b16'):
        name = f'synthesis.{block}.torgb.weight'
        assert networks['G']['skipped'][name].startswith(f'another shape: [{there}, ')
        assert torch.equal(new.G.state_dict()[name], fresh.G.state_dict()[name])
        assert networks['G']['skipped'][f'synthesis.{block}.torgb.bias'].startswith('another shape')
    assert list(networks['D']['skipped']) == ['b16.fromrgb.weight']


def test_another_architecture_takes_the_same_discriminator_whole():
    old, new = state_of('paper256', seed=1), state_of('squeeze')
    networks, _, _ = take(new, source_of(old))
    assert same(new.D, old.D)
    assert networks['D']['skipped'] == {}
    assert networks['G']['skipped']['synthesis.b8.squeeze.weight'] == ABSENT
    assert networks['G']['skipped']['synthesis.b8.conv1.weight'] == UNKNOWN
    assert torch.equal(new.G.mapping.fc7.weight, old.G_ema.mapping.fc7.weight)


def test_blocks_of_one_size_are_taken_across_resolutions():
    old, new = state_of(resolution=32, seed=1), state_of()
    networks, _, _ = take(new, source_of(old))
    assert {name.split('.')[1] for name in networks['G']['skipped']} == {'b32'}
    assert same(new.G.synthesis.b8, old.G_ema.synthesis.b8)
    assert same(new.D.b8, old.D.b8)
    assert networks['D']['skipped']['b32.fromrgb.weight'] == UNKNOWN
    assert networks['D']['skipped']['b16.fromrgb.weight'] == ABSENT


def test_biases_and_filters_alone_are_an_error():
    narrow = {
        f'{net}__channel_{what}': n for net in ('generator', 'discriminator') for what, n in (('base', 160), ('max', 9))
    }
    other = state_of(generator__w_dim=24, generator__z_dim=24, **narrow)
    with pytest.raises(CheckpointError, match=r'none of its weights fits this run, .* --cfg and the width'):
        take(state_of(), source_of(other))


def test_a_run_that_diverged_is_refused():
    source = source_of(state_of(seed=1))
    source.tensors['D.b16.conv0.weight'][0, 0, 0, 0] = float('nan')
    with pytest.raises(CheckpointError, match=r'D.b16.conv0.weight holds NaN or infinity'):
        take(state_of(), source)


def test_whole_numbers_are_not_taken_for_others():
    source = source_of(state_of(seed=1))
    source.tensors['G_ema.mapping.fc0.bias'] = torch.zeros([16], dtype=torch.int64)
    networks, _, _ = take(state_of(), source)
    assert networks['G']['skipped']['mapping.fc0.bias'].startswith('another kind: torch.int64 in the file')


def test_frozen_layers_take_their_tensors_and_have_no_optimiser():
    old, new = state_of(seed=1), state_of(discriminator__freezed=4)
    networks, _, _ = take(new, source_of(old))
    assert networks['D']['skipped'] == {}
    assert same(new.D, old.D)
    names = [name for name, _ in new.D.named_parameters()]
    assert names[0] == 'b8.conv0.weight'
    assert sum(len(group['params']) for group in new.opt_D.param_groups) == len(names)


def test_an_official_pickle_is_taken_whole(golden):
    path = golden / 'official_layout_cond.pkl'
    cfg, spec = load_snapshot(path).config()
    networks, _, _ = take(build(cfg, spec, torch.device('cpu')), load_source(str(path)))
    assert [report['skipped'] for report in networks.values()] == [{}, {}, {}]


# ---- runs

QUICK = (*TINY, '--batch=64', '--batch-gpu=64', '--tick=0.256', '--kimg=1')  # 16 steps


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    return make_zip(tmp_path_factory.mktemp('data') / 'tiny.zip')


@pytest.fixture(scope='module')
def snapshot(tmp_path_factory, data):
    """The last snapshot of a run of one kimg, with augmentation that adapts."""
    outdir = tmp_path_factory.mktemp('runs')
    call(outdir, f'--data={data}', *QUICK, '--cfg=squeeze', '--aug=apa', '--set=aug.kimg=2', '--target=0')
    return max(only_run(outdir).glob('network-snapshot-*.safetensors'))


@pytest.fixture(scope='module')
def frozen_run(tmp_path_factory, data, snapshot):
    """A run with frozen layers from that snapshot."""
    outdir = tmp_path_factory.mktemp('frozen')
    call(outdir, f'--data={data}', *QUICK, '--cfg=auto', '--aug=noaug', '--freezed=4',
         f'--resume={snapshot}', '--map-depth=8')  # fmt: skip
    return only_run(outdir)


@pytest.fixture
def address(snapshot, monkeypatch, tmp_path):
    """An http address of the snapshot's folder; the cache is empty."""
    monkeypatch.setattr(download, 'CACHE_VARIABLES', ('TEST_CACHE',))  # native operations stay where they are
    monkeypatch.setenv('TEST_CACHE', str(tmp_path / 'cache'))
    monkeypatch.setenv('NO_PROXY', '127.0.0.1')

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args):
            pass

    with http.server.ThreadingHTTPServer(('127.0.0.1', 0), partial(Quiet, directory=snapshot.parent)) as server:
        thread = threading.Thread(target=server.serve_forever, args=[0.02])
        thread.start()
        yield f'http://127.0.0.1:{server.server_port}/'
        server.shutdown()
        thread.join()


@pytest.mark.slow
def test_a_run_tells_what_it_took_on_screen_in_its_log_and_its_record(frozen_run, snapshot):
    report = json.loads((frozen_run / 'transfer.json').read_text())
    log = (frozen_run / 'log.txt').read_text()
    record = json.loads((frozen_run / 'config.json').read_text())
    assert report['source'] == record['source']
    assert record['source']['file'] == str(snapshot)
    assert len(record['source']['sha256']) == 64
    assert report['networks']['D']['skipped'] == {}
    assert report['networks']['G']['skipped']['synthesis.b8.squeeze.weight'] == UNKNOWN
    for line in ("tensors of the file's D, 100.0% of its numbers\n", '  G.synthesis.b8.squeeze.weight: not in this',
                 '  D.b16.fromrgb.weight: taken', 'as in StyleGAN2-ADA, unless --set says otherwise'):  # fmt: skip
        assert line in log
    cfg, _ = from_record(record)
    assert (cfg.aug.kimg, cfg.ema.rampup, cfg.discriminator.freezed) == (100, None, 4)


@pytest.mark.slow
def test_frozen_layers_stay_and_the_others_learn(frozen_run, snapshot):
    before, _ = load_tensors(snapshot)
    after, _ = load_state(max((frozen_run / 'state').iterdir()))
    layers = {name for name in before if name.startswith('D.') and name.endswith(('.weight', '.bias'))}
    frozen = {name for name in layers if name.startswith('D.b16.')}
    assert len(frozen) == 7  # three weights with biases, and the skip's weight
    assert {name for name in layers if torch.equal(before[name], after[name])} == frozen
    assert not any(name.startswith('opt_D.') and '.b16.' in name for name in after)
    assert any(name.startswith('opt_D.') and '.b8.' in name for name in after)


@pytest.mark.slow
def test_a_transferred_run_with_frozen_layers_resumes_to_the_same_bits(tmp_path, frozen_run):
    folder = shutil.copytree(frozen_run, tmp_path / frozen_run.name)
    shutil.rmtree(max((folder / 'state').iterdir()))
    assert 'transfer: D took' not in call(tmp_path, f'--resume={folder}').stdout
    assert last_state(folder) == last_state(frozen_run)
    assert losses(folder) == losses(frozen_run)


@pytest.fixture
def begin(monkeypatch):
    """A function that runs a command line up to where training begins, and gives the state that it would train."""
    states = []
    monkeypatch.setattr('ganfoundry.trainer.run_loop', lambda *args: states.append(args[3]) or (True, []))

    def run(*flags):
        train.main.main([str(flag) for flag in flags], standalone_mode=False)
        return states.pop()

    return run


@pytest.mark.slow
def test_a_run_that_was_killed_before_its_first_state_begins_from_the_same_networks(
    tmp_path, frozen_run, snapshot, begin
):
    folder = shutil.copytree(frozen_run, tmp_path / frozen_run.name)
    for path in [folder / 'state', *sorted(folder.glob('network-snapshot-*'))[1:]]:
        files.remove(path)
    (folder / 'stats.jsonl').unlink()
    state = begin(f'--resume={folder}')
    before, _ = load_tensors(snapshot)
    assert all(torch.equal(t, before[f'D.{name}']) for name, t in state.D.state_dict().items())
    record = json.loads((folder / 'config.json').read_text())
    record['source']['sha256'] = '0' * 64
    (folder / 'config.json').write_text(json.dumps(record))
    with pytest.raises(DownloadError, match='this is another file'):
        train.main.main([f'--resume={folder}'], standalone_mode=False)


@pytest.mark.slow
def test_networks_that_do_not_fit_are_refused_before_a_folder_is_made(tmp_path, data, snapshot):
    flags = [f'--outdir={tmp_path}', f'--data={data}', '--cfg=dcgan', '--metrics=none', f'--resume={snapshot}']
    with pytest.raises(CheckpointError, match='none of its weights fits this run'):
        train.main.main(flags, standalone_mode=False)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_folder_that_is_no_run_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match='this folder is neither a run nor a training state'):
        load_source(str(tmp_path))


def test_layers_are_not_frozen_on_the_way(frozen_run):
    with pytest.raises(ValueError, match=r'--freezed=2: this run began with 4 and continues with it'):
        train.main.main([f'--resume={frozen_run}', '--freezed=2'], standalone_mode=False)


@pytest.mark.slow
def test_augmentation_may_change_on_the_way_and_its_strength_goes_on(tmp_path, snapshot):
    folder = shutil.copytree(snapshot.parent, tmp_path / '00000-copy')
    before = losses(folder)[-1]['Progress/augment']['mean']
    assert before > 0.1
    said = call(tmp_path, f'--resume={folder}', '--kimg=2', '--target=0.9', '--aug=ada', '--augpipe=color').stdout
    for change in ('aug.kind apa -> ada', 'aug.target 0.0 -> 0.9', 'aug.pipe bgc -> color', 'kimg 1 -> 2'):
        assert f'changed for this launch: {change}' in said
    after = [line['Progress/augment']['mean'] for line in losses(folder) if line['nimg'] > 1000]
    assert abs(after[0] - before) < 0.2  # an update or none
    assert len(set(after)) > 1


@pytest.mark.slow
def test_networks_are_taken_from_an_address(tmp_path, data, snapshot, address, begin):
    begin(
        f'--outdir={tmp_path / "runs"}', f'--data={data}', '--cfg=squeeze', *QUICK, f'--resume={address}{snapshot.name}'
    )
    run = only_run(tmp_path / 'runs')
    assert run.name == '00000-tiny-squeeze-kimg1-batch64-resumecustom'
    assert '100.0% of its numbers' in (run / 'log.txt').read_text()
    origin = json.loads((run / 'config.json').read_text())['source']
    assert origin['url'] == address + snapshot.name
    assert tmp_path / 'cache' in Path(origin['file']).parents


def test_a_short_name_is_an_official_address(snapshot, address, monkeypatch):
    monkeypatch.setattr(module, 'OFFICIAL_URL', address)
    monkeypatch.setattr(module, 'OFFICIAL', {'ffhq256': snapshot.name})
    source = load_source('ffhq256')
    assert source.origin['given'] == 'ffhq256'
    assert source.origin['url'] == address + snapshot.name
    assert source.tensors.keys() == load_tensors(snapshot)[0].keys()


def test_images_that_an_official_file_names_and_nobody_has_are_asked_for(golden):
    network = f'--network={golden / "official_layout_uncond.pkl"}'
    with pytest.raises(DataError, match=r'the images of its training \(.*\) are not here; specify --data'):
        calc_metrics.main.main([network, '--metrics=fd_efflite8', '--device=cpu'], standalone_mode=False)


@pytest.mark.slow
def test_drawing_and_measuring_take_an_address(tmp_path, snapshot, address, capsys):
    network = f'--network={address}{snapshot.name}'
    generate.main.main([network, '--seeds=0', f'--outdir={tmp_path}', '--device=cpu'], standalone_mode=False)
    assert (tmp_path / 'seed0000.png').is_file()
    capsys.readouterr()
    calc_metrics.main.main([network, '--metrics=fd_efflite8', '--device=cpu'], standalone_mode=False)
    assert json.loads(capsys.readouterr().out)['snapshot'] == snapshot.name
