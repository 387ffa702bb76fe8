"""The page with a generator inside, in a browser."""

from __future__ import annotations

import base64
import dataclasses
import gzip
import time
from contextlib import closing
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch
from click.testing import CliRunner

from dnnlib.errors import ConfigError
from ganfoundry.commands import export, generate
from ganfoundry.export import web_page
from ganfoundry.export.options import OnnxSettings
from ganfoundry.export.web_page import content_of, write_page
from ganfoundry.export.web_runtime import WebRuntime
from ganfoundry.network import load
from tests.conftest import ROOT
from tests.support.browser import OPTIONS, Browser
from tests.support.narrow import make_snapshot
from tests.support.web_pages import LinearModel, OpenPage, web_runtime_or_skip
from torch_utils.images import shown, to_uint8, to_uint16
from training.data.convert.png import decode_png_16
from training.interface import ImageSpec

PEEPS = ROOT / 'examples' / 'networks' / 'peeps32.safetensors'
HOSTILE = '</script><!--<script><img src=x onerror=alert(1)>{{ script }}'
WEBGPU = ('--enable-unsafe-webgpu', '--use-webgpu-adapter=swiftshader')
LINEAR = LinearModel((3, 16, 24), z_dim=512)


@pytest.fixture(scope='module')
def page_path(web_runtime: WebRuntime, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a linear generator of 24x16 pixels."""
    path = tmp_path_factory.mktemp('page') / 'generator.html'
    write_page(path, LINEAR.content(), web_runtime)
    return path


@pytest.fixture(scope='module')
def page(browser: Browser, page_path: Path) -> OpenPage:
    """The open page. Its requests and messages remain for the last test of the module."""
    return OpenPage(browser, page_path)


def pixels_of(model: LinearModel, seed: int, *, label: int = 0, psi: float = 1) -> np.ndarray:
    """Returns the pixels of a model, uint8 or uint16 [H, W, C]."""
    img = torch.from_numpy(model(seed, label=label, psi=psi))
    return shown((to_uint8 if model.bits == 8 else to_uint16)(img).numpy()).transpose(1, 2, 0)


def saved(page: OpenPage, browser: Browser, folder: Path) -> Path:
    """Saves the picture by the page's button, and returns the file."""
    browser.driver.execute_cdp_cmd('Page.setDownloadBehavior', {'behavior': 'allow', 'downloadPath': str(folder)})
    page.click('save')
    for _ in range(600):
        if found := list(folder.glob('*.png')):
            return found[0]
        time.sleep(0.1)
    raise AssertionError('the page saved nothing')


def test_a_seed_has_the_latent_of_generate_py_exactly(page: OpenPage) -> None:
    seeds = [*range(20), 12345, 2**31 - 1, 2**31, 2**32 - 1]
    found = page('return arguments[0].map((seed) => Array.from(generator.latentOf(seed)))', seeds)
    expected = [np.random.RandomState(seed).randn(1, 512)[0].astype(np.float32) for seed in seeds]
    np.testing.assert_array_equal(np.array(found, np.float32), np.array(expected))


@pytest.mark.parametrize('psi', [0, 0.7, 1])
def test_the_numbers_are_those_of_the_network(page: OpenPage, psi: float) -> None:
    np.testing.assert_allclose(page.draw(seed=7, psi=psi), LINEAR(7, psi=psi), atol=1e-5)


def test_the_first_picture_is_that_of_seed_0_to_the_bit(page: OpenPage) -> None:
    rgba = np.array(page.settled()).reshape(16, 24, 4)
    np.testing.assert_array_equal(rgba[..., :3], pixels_of(LINEAR, 0))
    assert (rgba[..., 3] == 255).all()


def test_dragging_changes_the_picture_and_a_corner_is_a_seed(page: OpenPage, browser: Browser, tmp_path: Path) -> None:
    first = page.settled()
    page.drag('dot', 40, 60)
    between = page.settled()
    assert between != first
    assert '% seed 1' in page.find('caption').text
    with PIL.Image.open(saved(page, browser, tmp_path)) as picture:
        latent = np.frombuffer(base64.b64decode(picture.info['z']), '<f4')
    lengths = [np.linalg.norm(np.random.RandomState(seed).randn(512)) for seed in (0, 1, 2)]
    assert min(lengths) <= np.linalg.norm(latent) <= max(lengths)  # a mean of the three would be shorter
    page.click('corner1')
    rgba = np.array(page.settled()).reshape(16, 24, 4)
    np.testing.assert_array_equal(rgba[..., :3], pixels_of(LINEAR, 1))
    page.click('corner0')
    assert page.settled() == first


def test_arrow_keys_move_through_the_plane(page: OpenPage) -> None:
    page.click('corner0')
    first = page.settled()
    page.find('dot').send_keys('\ue015')  # down
    assert page.settled() != first
    page.find('dot').send_keys('\ue013')  # up
    assert page.settled() == first


def test_at_psi_0_all_seeds_are_equal(page: OpenPage) -> None:
    for corner in ('corner0', 'corner2'):
        page.click(corner)
        page.set('psi', '0')
        assert set(page.settled()) == {128, 255}
    page.set('psi', '1')


def test_a_seed_that_is_none_changes_nothing(page: OpenPage) -> None:
    page.set('seed2', '2')
    page.click('corner2')
    before = page.settled()
    for text in ('', '-1', '4294967296', '1.5'):
        page.set('seed2', text)
        assert page.settled() == before
    page.set('seed2', '4294967295')
    rgba = np.array(page.settled()).reshape(16, 24, 4)
    np.testing.assert_array_equal(rgba[..., :3], pixels_of(LINEAR, 2**32 - 1))


@pytest.mark.parametrize('width', [360, 1280])
def test_the_page_fits_a_small_screen_and_every_control_has_a_label(
    page: OpenPage, browser: Browser, width: int
) -> None:
    browser.resize(width)
    assert page('return document.documentElement.scrollWidth') <= width
    unlabeled = """
        return [...document.querySelectorAll('input, select, button, [role=slider], canvas[role=img]')]
            .filter((element) => !element.labels?.length && !element.ariaLabel && !element.textContent.trim())
            .map((element) => element.outerHTML)
    """
    assert page(unlabeled) == []


def test_the_page_asked_no_network_and_said_nothing(page: OpenPage, browser: Browser) -> None:
    assert browser.messages() == []
    assert {address.partition(':')[0] for address in browser.requests()} <= {'file', 'blob', 'data'}


KINDS = {
    'gray': LinearModel((1, 8, 8), has_noise=True),
    'rgba_with_classes': LinearModel((4, 8, 8), c_dim=3, psi=0.5),
    'six_channels_of_16_bits': LinearModel((6, 8, 8), bits=16),
}


@pytest.mark.parametrize('kind', KINDS)
def test_every_kind_is_saved_to_the_bit_and_hostile_text_stays_text(
    browser: Browser, web_runtime: WebRuntime, tmp_path: Path, kind: str
) -> None:
    model = KINDS[kind]
    write_page(tmp_path / 'page.html', model.content(HOSTILE), web_runtime)
    page = OpenPage(browser, tmp_path / 'page.html')
    check_text(page, model)
    assert page.find('class').is_displayed() == (model.c_dim > 0)
    assert page.find('psi').is_displayed() == (model.psi is None)
    assert page.find('noise').is_displayed() == (model.noise.size > 0)
    page.click('corner2')
    if model.c_dim > 0:
        page.set('class', '1')
    if model.noise.size > 0:
        check_noise(page, model)
        page.set('noise', 'none')
    page.settled()
    assert ('alpha' in page.find('picture').get_attribute('class')) == (model.shape[0] == 4)
    picture = saved(page, browser, tmp_path)
    assert picture.name == 'seed0002.png'
    expected = pixels_of(model, 2, label=int(model.c_dim > 0))
    difference = np.abs(read_png(picture).astype(int) - expected)
    assert difference.max() <= (model.bits == 16)  # float32 holds 24 bits of a sum
    browser.check_quiet()


def check_text(page: OpenPage, model: LinearModel) -> None:
    """Asserts that the page shows what the record says, as text."""
    assert page('return document.title') == HOSTILE
    texts = page(
        "return [...document.querySelectorAll('h1, header p, li, dt, dd')].map((element) => element.textContent)"
    )
    assert texts == [HOSTILE] * 5
    names = page("return [...document.getElementById('class').options].map((option) => option.text)")
    assert names == [HOSTILE] * model.c_dim
    assert page("return document.querySelectorAll('img').length") == 0


def check_noise(page: OpenPage, model: LinearModel) -> None:
    """Asserts that the noise of a picture is the stored one, that of a seed, or none."""
    plain = model(7)
    np.testing.assert_allclose(page.draw(seed=7) - plain, model.noise[None], atol=1e-6)
    np.testing.assert_allclose(page.draw(seed=7, noise='none'), plain, atol=1e-6)
    noise = np.random.RandomState(5).randn(1, 8, 8)
    np.testing.assert_allclose(page.draw(seed=7, noise='random', noiseSeed=5) - plain, noise, atol=1e-6)


def read_png(path: Path) -> np.ndarray:
    """Returns the pixels of a PNG of 8 or 16 bits, [H, W, C]. Pillow reads no RGB of 16 bits."""
    with PIL.Image.open(path) as picture:
        pixels = np.asarray(picture)  # checks the CRC of each chunk
        assert picture.info['seed'] == '2'
    if path.read_bytes()[24] == 16:
        return decode_png_16(path.read_bytes(), path.name)
    return pixels.reshape(*pixels.shape[:2], -1)


def test_a_model_that_does_not_start_is_said_in_the_page(
    browser: Browser, web_runtime: WebRuntime, tmp_path: Path
) -> None:
    path = tmp_path / 'page.html'
    write_page(path, dataclasses.replace(LINEAR.content(), model=b'not a model'), web_runtime)
    page = OpenPage(browser, path)
    assert page.find('alert').text.startswith('The network cannot draw here: ')
    browser.messages()  # of the runtime


def test_two_pages_of_one_network_are_equal_and_keep_to_their_size(
    page_path: Path, web_runtime: WebRuntime, tmp_path: Path
) -> None:
    write_page(tmp_path / 'again.html', LINEAR.content(), web_runtime)
    assert page_path.read_bytes() == (tmp_path / 'again.html').read_bytes()
    assert page_path.stat().st_size <= 5_000_000 + 1.4 * len(gzip.compress(LINEAR.onnx()))


def test_a_model_that_no_browser_holds_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web_page, 'MAX_MODEL', 10)
    with pytest.raises(ConfigError, match='a page holds at most'):
        write_page(tmp_path / 'page.html', LINEAR.content(), WebRuntime(b'', b''))
    assert list(tmp_path.iterdir()) == []


def test_the_page_says_what_it_does_not_show() -> None:
    network = load(PEEPS, device='cpu')
    plain = content_of(network, b'', OnnxSettings())
    assert plain.network['title'] == 'peeps32'
    assert plain.network['description'] == 'A generator of images, 32x32 RGB, after 100 thousand training images'
    assert (plain.notes, plain.noise, plain.network['noise_maps']) == ([], b'', [])
    network.spec = dataclasses.replace(network.spec, channels=6, bits=16, label_dim=2)
    settings = OnnxSettings(psi=0.7, noise='input', license='cc0-1.0', recalibrated=True)
    content = content_of(network, b'', settings)
    assert len(content.notes) == 5
    assert content.network['texts'] is None  # generate.py --recalibrate measures at one class
    assert content.facts['License'] == 'cc0-1.0'
    assert len(content.noise) == sum(4 * height * width for _, height, width in content.network['noise_maps']) > 0


@pytest.mark.slow
def test_the_gpu_draws_only_after_a_comparison_that_it_passes(tmp_path: Path, browser: Browser) -> None:
    """The GPU is SwiftShader's; a limit below 0 stands for a GPU that draws something else."""
    path, strict = tmp_path / 'page.html', tmp_path / 'strict.html'
    write_page(path, LINEAR.content(webgpu=True), web_runtime_or_skip('webgpu'))
    strict.write_text(path.read_text().replace('GPU_LIMIT = 1e-3', 'GPU_LIMIT = -1'))
    check_gpu(OpenPage(browser, path), 'The processor draws: this browser offers no WebGPU', accepted=False)
    with closing(Browser([*set(OPTIONS) - {'--disable-gpu'}, *WEBGPU])) as gpu_browser:
        check_gpu(OpenPage(gpu_browser, path), 'The GPU draws; the largest difference', accepted=True)
        check_gpu(OpenPage(gpu_browser, strict), 'The processor draws: the largest difference', accepted=False)
        assert gpu_browser.messages() == []


def check_gpu(page: OpenPage, sentence: str, *, accepted: bool) -> None:
    """Turns the switch, and asserts what the page says of it and that the page draws then."""
    page.click('gpu')
    page.wait("return !/draws.$|…$/.test(document.getElementById('gpu-status').textContent)")
    assert page.find('gpu-status').text.startswith(sentence)
    assert page.find('gpu').is_selected() == accepted
    page.settled()
    np.testing.assert_allclose(page.draw(seed=7), LINEAR(7), atol=1e-3)


@pytest.mark.slow
def test_the_exported_page_draws_what_pytorch_draws_and_its_pngs_are_drawn_again(
    browser: Browser, web_runtime: WebRuntime, tmp_path: Path
) -> None:
    """A conditional StyleGAN2 with noise, from its snapshot to pictures; a PNG between the seeds goes back."""
    pytest.importorskip('onnxscript')
    spec = ImageSpec(resolution=8, channels=3, label_dim=3, num_images=8)
    path = make_snapshot(tmp_path / 'tiny.safetensors', 'stylegan2', spec, classes=('ant', 'bee', HOSTILE))
    command = [f'--network={path}', '--format=html', f'--out={tmp_path / "out"}']
    done = CliRunner().invoke(export.main, command)
    assert done.exit_code == 0, done.output
    page = OpenPage(browser, tmp_path / 'out' / 'generator.html')
    network = load(path, device='cpu')
    z, c = network.latents([7]), torch.eye(3)[[2]]
    for psi, noise in ((0, 'const'), (0.7, 'const'), (1, 'none')):
        expected = network(z, c, truncation_psi=psi, noise_mode=noise)[0]
        found = torch.from_numpy(page.draw(seed=7, psi=psi, label=2, noise=noise))
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)
    page.set('class', '1')
    page.drag('dot', 30, 50)
    page.settled()
    picture = saved(page, browser, tmp_path)
    generate_command = [f'--network={path}', f'--from={picture}', f'--outdir={tmp_path / "again"}', '--device=cpu']
    done = CliRunner().invoke(generate.main, generate_command)
    assert done.exit_code == 0, done.output
    first, again = (np.asarray(PIL.Image.open(file), int) for file in (picture, tmp_path / 'again' / picture.name))
    difference = np.abs(first - again)
    assert difference.max() <= 1
    assert (difference > 0).sum() <= 2
    browser.check_quiet()
