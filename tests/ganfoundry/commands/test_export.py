"""export.py: every format by its command line, and bad input, which leaves nothing."""

import numpy as np
import pytest
import torch

import ganfoundry as gf
from dnnlib.command import run_command
from ganfoundry.commands import export
from ganfoundry.drawing import measure_batch_norm
from tests.support.exports import network_of


@pytest.fixture(scope='module')
def network(tmp_path_factory):
    """The file of a conditional network with batch normalization and without W."""
    path = tmp_path_factory.mktemp('network') / 'network.safetensors'
    network_of(path, 'giu-base', label_dim=3)
    return path


def run(path, *args):
    export.main.main([f'--network={path}', *args], standalone_mode=False)


@pytest.mark.parametrize(
    ('flags', 'files'),
    [
        (['--format=safetensors'], ['model.safetensors']),
        (['--format=hub', '--license=mit'], ['README.md', 'config.json', 'model.safetensors', 'samples.png']),
    ],
)
def test_the_files_of_a_format_are_in_a_new_folder(network, tmp_path, capsys, flags, files):
    out = tmp_path / 'new' / 'out'
    run(network, *flags, f'--out={out}')
    assert sorted(path.name for path in out.iterdir()) == files
    assert [path.name for path in out.parent.iterdir()] == ['out']
    *lines, last = capsys.readouterr().out.splitlines()
    assert lines[0].startswith('model.safetensors: ')
    assert last == f'{out}: giu-base, 16x16 RGB, 3 label entries, 64 images, as {flags[0].removeprefix("--format=")}'


def test_onnx_with_the_statistics_of_its_truncation(network, tmp_path):
    onnxruntime = pytest.importorskip('onnxruntime')
    pytest.importorskip('onnxscript')
    run(network, '--format=onnx', '--psi=0.5', '--recalibrate', f'--out={tmp_path / "out"}')
    assert [path.name for path in (tmp_path / 'out').iterdir()] == ['generator.onnx']
    session = onnxruntime.InferenceSession(str(tmp_path / 'out' / 'generator.onnx'))
    assert session.get_modelmeta().custom_metadata_map['recalibrated'] == 'true'
    G = gf.load(network, device='cpu')
    z, c = G.latents([1, 2]), torch.eye(3)[[0, 2]]
    (found,) = session.run(None, {'z': z.numpy(), 'c': c.numpy()})
    as_trained = G(z, c, truncation_psi=0.5).numpy()
    measure_batch_norm(G.module, torch.eye(3), 0.5)
    assert np.abs(found - G(z, c, truncation_psi=0.5).numpy()).max() < 1e-4
    assert np.abs(found - as_trained).max() > 1e-2


def test_an_official_pickle_is_exported(golden, tmp_path):
    run(golden / 'official_layout_cond.pkl', '--format=safetensors', f'--out={tmp_path / "out"}')
    network = gf.load(tmp_path / 'out', device='cpu')
    original = gf.load(golden / 'official_layout_cond.pkl', device='cpu')
    assert np.array_equal(network.images([1], class_idx=0), original.images([1], class_idx=0))


@pytest.mark.parametrize(
    ('flags', 'message'),
    [
        (['--format=onx', '--out=out'], "'onx' is not one of 'onnx'"),
        (['--format=hub', '--out=out'], '--license is needed: the hub shows it'),
        (['--format=hub', '--license=my license', '--out=out'], 'expected an identifier such as apache-2.0'),
        (['--format=hub', '--license=mit', '--push=net', '--out=out'], '--push=net: expected USER/NAME'),
        (['--format=onnx', '--psi=half', '--out=out'], '--psi=half: expected input, or a finite number'),
        (['--format=onnx', '--opset=17', '--out=out'], '17 is not in the range'),
        (['--format=onnx', '--noise=input', '--out=out'], '--noise=input: giu-base has no noise in it; drop --noise'),
        (['--format=safetensors', '--out=full'], '--out=full: exists and is not empty; name a new folder'),
        (['--format=safetensors', '--out=full/file'], '--out=full/file: is a file; name a new folder'),
        (['--format=safetensors', '--out=full/file/out'], '--out=full/file/out: cannot be made: Not a directory'),
        (['--format=safetensors', '--out=a/out', '--network=nowhere'], 'nowhere: no such file or folder'),
        (['--format=safetensors', '--out=a/out', '--plugin=nowhere.py'], '--plugin: no such file'),
        (['--format=safetensors'], "Missing option '--out'"),
    ],
)
def test_bad_input_is_one_sentence_with_exit_code_2_and_leaves_nothing(
    network, tmp_path, monkeypatch, capsys, flags, message
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'full').mkdir()
    (tmp_path / 'full' / 'file').write_text('mine')
    monkeypatch.setattr('sys.argv', ['export.py', f'--network={network}', *flags])
    with pytest.raises(SystemExit) as ended:
        run_command(export.main)
    assert ended.value.code == 2
    printed = capsys.readouterr()
    assert message in printed.err
    assert [line for line in printed.err.splitlines() if line.startswith('Error: ')] == printed.err.splitlines()[-1:]
    assert printed.out == ''
    assert sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob('*')) == ['full', 'full/file']
