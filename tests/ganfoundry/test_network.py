"""A network as a Python object: it is loaded by any name, and draws what generate.py draws."""

import json
import shutil

import numpy as np
import PIL.Image
import pytest
import torch

import ganfoundry as gf
from dnnlib.errors import CheckpointError, ConfigError, DataError
from ganfoundry.commands import generate

pytestmark = pytest.mark.slow


def test_a_network_is_loaded_by_any_of_its_names(trained, golden, tmp_path, monkeypatch):
    newest = max(trained.glob('network-snapshot-*.safetensors'))
    for name in (trained, str(trained), newest, str(newest), newest.as_uri()):
        assert gf.load(name, device='cpu').path == newest
    copy = shutil.copytree(trained, tmp_path / 'copy')
    oldest = min(copy.glob('network-snapshot-*.safetensors'))
    (copy / 'best.json').write_text(json.dumps({'snapshot': oldest.name}))
    assert gf.load(copy, device='cpu').path == oldest
    official = gf.load(golden / 'official_layout_cond.pkl', device='cpu')
    assert official.spec.label_dim > 0
    monkeypatch.setattr('training.run.open_network.fetch', lambda address: newest)
    assert gf.load('https://host/net.safetensors', device='cpu').path == newest


def test_what_is_no_network_is_named(labeled_data, trained, tmp_path):
    (tmp_path / 'text.safetensors').write_text('text')
    for path in (
        labeled_data,
        tmp_path,
        tmp_path / 'absent.pkl',
        tmp_path / 'text.safetensors',
        trained / 'config.json',
    ):
        with pytest.raises(CheckpointError, match=path.name):
            gf.load(path)
    with pytest.raises(ConfigError, match='precision=half: choose one of auto, fp32, bf16, fp16'):
        gf.load(trained, precision='half')
    with pytest.raises(ConfigError, match='--device=tpu: choose cpu'):
        gf.load(trained, device='tpu')


# --- drawing -----------------------------------------------------------------


@pytest.mark.parametrize('noise', ['const', 'random'])
def test_images_and_files_are_those_of_generate(tmp_path, trained, G, noise):
    snapshot = max(trained.glob('network-snapshot-*.safetensors'))
    generate.main.main([f'--network={snapshot}', '--seeds=0-9', '--class=2', '--trunc=0.7', f'--noise-mode={noise}',
                        f'--outdir={tmp_path / "a"}', '--device=cpu'], standalone_mode=False)  # fmt: skip
    names = [f'seed{seed:04d}.png' for seed in range(10)]
    expected = np.stack([np.asarray(PIL.Image.open(tmp_path / 'a' / name)) for name in names])
    images = G.images(seeds=range(10), psi=0.7, class_idx=2, noise_mode=noise)
    assert (images.dtype, images.shape) == (np.uint8, (10, 16, 16, 3))
    assert np.array_equal(images, expected)
    saved = G.save(tmp_path / 'b', range(10), psi=0.7, class_idx=2, noise_mode=noise)
    assert [path.name for path in saved] == names
    assert [path.read_bytes() for path in saved] == [(tmp_path / 'a' / name).read_bytes() for name in names]


def test_latents_forward_and_drawing_agree_with_images(G):
    z, c = G.latents([3, 4]), torch.eye(3)[1:2]
    assert z.shape == (2, G.module.z_dim)
    expected = G.images([3, 4], psi=0.5, class_idx=1)
    assert np.array_equal(G.draw(z, c=c, psi=0.5), expected)
    with torch.no_grad():
        img = G(z, c.expand(2, -1), truncation_psi=0.5, noise_mode='const')  # [N, C, H, W]
        ws = G.module.mapping(z, c.expand(2, -1), truncation_psi=0.5)  # [N, num_ws, w_dim]
    assert np.array_equal((img * 127.5 + 128).clamp(0, 255).byte().permute(0, 2, 3, 1).numpy(), expected)
    assert np.array_equal(G.draw(ws), expected)
    assert (G.spec.height, G.spec.label_dim, G.module.training) == (16, 3, False)


def test_stored_latents_are_drawn(tmp_path, G):
    np.savez(tmp_path / 'z.npz', z=G.latents([5]).numpy(), c=np.eye(3)[2:])
    assert np.array_equal(G.draw(tmp_path / 'z.npz'), G.images([5], class_idx=2))
    with pytest.raises(DataError, match=r'latents: w is torch.float32 \[1, 1, 16\]'):
        G.draw(torch.zeros(1, 1, 16))


def test_spaces_classes_and_latents_files_are_those_of_the_commands(tmp_path, G):
    assert G.spaces == ('w', 'w+', 'z')
    assert G.class_names == ()
    assert np.array_equal(G.images([5], class_idx='1:0.5+2:0.5'), G.images([5], class_idx='0,0.5,0.5'))
    z = G.latents([5, 6, 7])
    np.savez(tmp_path / 'z.npz', z=z.numpy())
    c = torch.eye(3)[:1]
    assert np.array_equal(G.draw(f'{tmp_path / "z.npz"}:2,0', c=c), G.images([7, 5], class_idx=0))
    with pytest.raises(ConfigError, match='the file holds 3 points'):
        G.draw(f'{tmp_path / "z.npz"}:3', c=c)
    with pytest.raises(ConfigError, match='psi=nan: expected a finite number'):
        G.images([0], class_idx=0, psi=float('nan'))


def test_another_picture_is_replaced_on_request_alone(tmp_path, G):
    (path,) = G.save(tmp_path, [3, 3], class_idx=0)
    assert G.save(tmp_path, [3], class_idx=0) == [path]
    with pytest.raises(ConfigError, match=r'seed0003\.png: exists and is another picture'):
        G.save(tmp_path, [3], class_idx=1)
    assert G.save(tmp_path, [3], class_idx=1, overwrite=True) == [path]


def test_arguments_that_do_not_fit_are_named(G):
    with pytest.raises(ConfigError, match='class_idx is needed: this network is conditional, on classes 0 to 2'):
        G.images([0])
    with pytest.raises(ConfigError, match='class_idx=3: this network knows classes 0 to 2'):
        G.images([0], class_idx=3)
    with pytest.raises(ConfigError, match='c is needed'):
        G(torch.zeros(1, G.module.z_dim))
    with pytest.raises(ConfigError, match='c is needed'):
        G.draw(torch.zeros(1, G.module.z_dim))
    for seeds, message in (
        ([], 'seeds is empty'),
        ([-1], 'seeds: -1 is not in 0'),
        ([2**32], 'is not in 0'),
        (3, 'seeds=3: expected several numbers'),
    ):
        with pytest.raises(ConfigError, match=message):
            G.images(seeds, class_idx=0)
