"""Pages with a generator inside for tests: the runtime, models of one multiplication, and a page in a browser."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from dnnlib.errors import ConfigError
from ganfoundry.export.web_page import PageContent
from ganfoundry.export.web_runtime import COMMAND, Kind, WebRuntime, find_runtime, read_runtime
from tests.support.browser import Browser

if TYPE_CHECKING:
    from selenium.webdriver.remote.webelement import WebElement

START_S = 60  # seconds that a page may take to start on a busy machine


def web_runtime_or_skip(kind: Kind = 'wasm') -> WebRuntime:
    """Returns the runtime of pages; skips, or fails where a browser is required."""
    try:
        return read_runtime(find_runtime(None, kind), kind)
    except ConfigError as error:
        if os.environ.get('GANFOUNDRY_BROWSER') == 'required':
            pytest.fail(str(error))
        pytest.skip(f'no onnxruntime-web: {COMMAND}')


class LinearModel:
    """A generator z, c, psi -> psi * z A + c B + noise, as ONNX and as NumPy.

    Args:
        shape: [C, H, W] of an image.
        z_dim: Width of a latent.
        c_dim: Width of a label, 0 for none.
        psi: Truncation that the model has fixed; None for an input.
        bits: Bits of a channel.
        has_noise: Add a noise map of the image's size, which is an input.
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        *,
        z_dim: int = 8,
        c_dim: int = 0,
        psi: float | None = None,
        bits: int = 8,
        has_noise: bool = False,
    ) -> None:
        random = np.random.RandomState(0)
        self.shape, self.z_dim, self.c_dim, self.psi, self.bits = shape, z_dim, c_dim, psi, bits
        size = int(np.prod(shape))
        self.a = (random.randn(z_dim, size) / np.sqrt(z_dim)).astype(np.float32)
        self.b = random.randn(c_dim, size).astype(np.float32)
        self.noise = random.randn(*shape[1:] if has_noise else [0]).astype(np.float32)  # the stored one, [H, W]

    def __call__(self, seed: int, *, label: int = 0, psi: float = 1) -> np.ndarray:
        """Returns the image of a seed, float32 [C, H, W], without noise."""
        z = np.random.RandomState(seed).randn(1, self.z_dim).astype(np.float32)
        img = (self.psi if self.psi is not None else psi) * (z @ self.a)
        if self.c_dim > 0:
            img = img + self.b[label]
        return img.reshape(self.shape).astype(np.float32)

    def onnx(self) -> bytes:
        """Returns the model as an ONNX file."""
        onnx = pytest.importorskip('onnx')
        helper, number = onnx.helper, onnx.TensorProto.FLOAT
        inputs = [helper.make_tensor_value_info('z', number, ['batch', self.z_dim])]
        constants = {'a': self.a, 'shape': np.array([-1, *self.shape])}
        nodes = [helper.make_node('MatMul', ['z', 'a'], ['za'])]
        if self.psi is None:
            inputs.append(helper.make_tensor_value_info('psi', number, []))
        else:
            constants['psi'] = np.float32(self.psi)
        nodes.append(helper.make_node('Mul', ['za', 'psi'], ['drawn']))
        if self.c_dim > 0:
            inputs.append(helper.make_tensor_value_info('c', number, ['batch', self.c_dim]))
            constants['b'] = self.b
            nodes += [helper.make_node('MatMul', ['c', 'b'], ['cb']), helper.make_node('Add', ['drawn', 'cb'], ['sum'])]
        last = 'sum' if self.c_dim > 0 else 'drawn'
        nodes.append(helper.make_node('Reshape', [last, 'shape'], ['plain' if self.noise.size else 'img']))
        if self.noise.size:
            inputs.append(helper.make_tensor_value_info('noise_b0', number, ['batch', 1, *self.shape[1:]]))
            nodes.append(helper.make_node('Add', ['plain', 'noise_b0'], ['img']))
        graph = helper.make_graph(
            nodes,
            'linear',
            inputs,
            [helper.make_tensor_value_info('img', number, ['batch', *self.shape])],
            [onnx.numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
        )
        opset = [helper.make_opsetid('', 18)]
        data: bytes = helper.make_model(graph, opset_imports=opset, ir_version=10).SerializeToString()
        return data

    def content(self, text: str | None = None, *, webgpu: bool = False) -> PageContent:
        """Returns the content of a page of the model. text: all of its texts. webgpu: add the switch for the GPU."""
        network = {
            'title': text or 'linear',
            'description': text or 'A test',
            'width': self.shape[2],
            'bits': self.bits,
            'z_dim': self.z_dim,
            'c_dim': self.c_dim,
            'classes': [text or f'class {index}' for index in range(self.c_dim)],
            'psi': self.psi,
            'webgpu': webgpu,
            'noise': 'none',
            'noise_maps': [['noise_b0', *self.noise.shape]] if self.noise.size else [],
            'texts': {'network': 'linear', 'network_sha256': '0' * 64, 'nimg': '0'},
        }
        texts = [] if text is None else [text]
        return PageContent(
            network=network,
            model=self.onnx(),
            noise=self.noise.tobytes(),
            notes=texts,
            facts={name: name for name in texts},
        )


class OpenPage:
    """A page with a generator inside, open in a browser and ready to draw.

    Args:
        browser: The browser.
        path: The page.
        **size: Arguments of `Browser.show`.
    """

    def __init__(self, browser: Browser, path: Path, **size: Any) -> None:
        self.driver = browser.driver
        browser.show(path.as_uri(), **size)
        self.wait("return picture.width > 1 || !document.getElementById('alert').hidden")

    def __call__(self, script: str, *args: Any) -> Any:
        """Returns what a script returns."""
        return self.driver.execute_script(script, *args)

    def find(self, name: str) -> WebElement:
        """Returns the element of an id."""
        return self.driver.find_element('id', name)

    def wait(self, condition: str) -> None:
        """Waits until a script returns something true."""
        from selenium.webdriver.support.ui import WebDriverWait

        WebDriverWait(self.driver, START_S).until(lambda driver: driver.execute_script(condition))

    def set(self, name: str, text: str) -> None:
        """Sets the value of a control, as typing or choosing does."""
        script = "arguments[0].value = arguments[1]; arguments[0].dispatchEvent(new Event('input', { bubbles: true }))"
        self(script, self.find(name), text)

    def click(self, name: str) -> None:
        """Presses a button, also one that the dot covers."""
        self('arguments[0].click()', self.find(name))

    def drag(self, name: str, dx: int, dy: int) -> None:
        """Drags an element by a number of CSS pixels."""
        from selenium.webdriver.common.action_chains import ActionChains

        ActionChains(self.driver).drag_and_drop_by_offset(self.find(name), dx, dy).perform()

    def settled(self) -> list[int]:
        """Waits until all pictures are drawn, and returns the pixels of the large one, RGBA row by row."""
        self.wait(
            "return document.querySelector('figure').ariaBusy === 'false' || !document.getElementById('alert').hidden"
        )
        assert self.find('alert').text == ''
        pixels: list[int] = self(
            "return Array.from(picture.getContext('2d').getImageData(0, 0, picture.width, picture.height).data)"
        )
        return pixels

    def draw(self, **options: Any) -> np.ndarray:
        """Returns the numbers of a picture, float32 [C, H, W], with the options of generator.draw in generator.js."""
        script = """
            const [options, done] = arguments;
            generator.draw(options).then(
                ({ numbers, shape }) => done([Array.from(numbers), shape]), (error) => done(String(error)));
        """
        found = self.driver.execute_async_script(script, options)
        assert isinstance(found, list), found
        return np.array(found[0], np.float32).reshape(found[1])
