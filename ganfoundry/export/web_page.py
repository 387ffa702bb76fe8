"""A page with a generator inside: one HTML file that opens from file:// and draws without a server.

The page holds the network as ONNX, its runtime, and the WebAssembly of the runtime, gzipped and base64-coded in
elements that no browser executes. A Content-Security-Policy allows its own script, what that unpacks, and no
connection.
"""

from __future__ import annotations

import functools
import gzip
import importlib.resources
import json
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import torch
from markupsafe import Markup

from dnnlib.errors import ConfigError
from dnnlib.files import write_bytes
from ganfoundry.content_policy import digest_source
from ganfoundry.export.options import OnnxSettings
from ganfoundry.export.parts import has_w, maps_of
from ganfoundry.export.web_runtime import VERSION, WebRuntime
from ganfoundry.network import Network
from ganfoundry.page_templates import page_templates

SCRIPTS = ('random_state.js', 'plane.js', 'picture.js', 'generator.js', 'page.js')  # in this order one module
MAX_MODEL = 350 * 2**20  # bytes of a gzipped model; browsers hold texts of 512 MiB


@dataclass(frozen=True, kw_only=True, slots=True)
class PageContent:
    """Everything in a page that depends on the network.

    Attributes:
        network: What its scripts read, as JSON holds it; `content_of` names the entries.
        model: The network as ONNX: z [, c] [, psi] [, noise maps] -> img.
        noise: The stored noise of the maps in their order, float32; empty if they are no inputs.
        notes: Sentences about what the page does not show.
        facts: Names and values about the network.
    """

    network: Mapping[str, Any]
    model: bytes
    noise: bytes = b''
    notes: Sequence[str] = ()
    facts: Mapping[str, str]


def content_of(network: Network, model: bytes, settings: OnnxSettings, *, webgpu: bool = False) -> PageContent:
    """Returns the content of a network's page.

    Args:
        network: The network.
        model: The network as ONNX.
        settings: How that was made.
        webgpu: Whether the page has a switch for WebGPU, and a runtime of that kind.
    """
    spec, path, info = network.spec, network.path, network.info(recalibrate=settings.recalibrated)
    images, kimg = str(spec).partition(', ')[0], network.snapshot.nimg / 1000
    texts = {name: info[name] for name in ('network', 'network_sha256', 'nimg', 'precision', 'recalibrate')}
    stored = noise_maps(network.module) if settings.noise == 'input' else {}
    is_foreign = settings.recalibrated and spec.label_dim > 0  # generate.py --recalibrate measures at one class
    named_by_run = path.stem.startswith('network-snapshot') and path.parent.name
    facts = {'File': path.name, 'sha256': network.sha256, 'Recipe': f'--cfg={network.config.cfg}'}
    return PageContent(
        network={
            'title': path.parent.name if named_by_run else path.stem,
            'description': f'A generator of images, {images}, after {kimg:g} thousand training images',
            'width': spec.width,
            'bits': spec.bits,
            'z_dim': network.module.z_dim,
            'c_dim': spec.label_dim,
            'classes': list(network.class_names) or [f'class {index}' for index in range(spec.label_dim)],
            'psi': settings.psi,  # the fixed one, or null
            'webgpu': webgpu,
            'noise': settings.noise,
            'noise_maps': [[name, *tensor.shape] for name, tensor in stored.items()],  # name, h, w
            'texts': None
            if is_foreign
            else {name: value if isinstance(value, str) else json.dumps(value) for name, value in texts.items()},
        },
        model=model,
        noise=b''.join(tensor.numpy().astype('<f4').tobytes() for tensor in stored.values()),
        notes=_notes(network, settings),
        facts=facts | ({} if settings.license is None else {'License': settings.license}),
    )


def noise_maps(G: Any) -> dict[str, torch.Tensor]:
    """Returns the stored noise of a network, float32 [h, w] by the name of its input."""
    net = G.synthesis if has_w(G) else G
    return {name: net.get_buffer(buffer).float() for name, buffer in maps_of(net).items()}


def _notes(network: Network, settings: OnnxSettings) -> list[str]:
    """Returns sentences about what the page does not show."""
    notes = []
    if (channels := network.spec.channels) > 4:
        notes.append(f'The network draws {channels} channels; the page shows and saves the first three as RGB.')
    if network.spec.bits == 16:
        notes.append('The network draws 16 bits per channel; the screen shows 8, and a saved PNG holds all 16.')
    if settings.psi is not None:
        notes.append(f'Truncation psi is {settings.psi:g} in this page.')
    if settings.recalibrated:
        notes.append('The statistics of batch normalization were measured again, at this truncation.')
    if settings.noise == 'input':
        notes.append('The noise of a seed is another one than generate.py --noise-mode=random draws.')
    return notes


def write_page(path: Path, content: PageContent, runtime: WebRuntime) -> None:
    """Writes a page, atomically. Equal content gives equal bytes.

    Args:
        path: The file.
        content: What depends on the network.
        runtime: The runtime.

    Raises:
        ConfigError: If the model is too large for a page.
    """
    packed = {'model': gzip.compress(content.model, 9, mtime=0), 'noise': gzip.compress(content.noise, 9, mtime=0)}
    if (size := len(packed['model'])) > MAX_MODEL:
        raise ConfigError(
            f'--format=html: the network has {size / 2**20:.0f} MiB, and a page holds at most '
            f'{MAX_MODEL / 2**20:.0f}; use --format=onnx'
        )
    packed |= {'runtime': runtime.module, 'wasm': runtime.wasm}
    style, script = _asset('page.css'), '\n'.join(map(_asset, SCRIPTS))
    page = _template().render(
        policy=_policy(script, style),
        style=Markup(style),
        script=Markup(script),
        worker=Markup(_asset('worker.js')),
        network=content.network,
        notes=content.notes,
        facts=content.facts,
        parts={name: Markup(b64encode(part).decode()) for name, part in packed.items()},
        runtime_version=VERSION,
    )
    write_bytes(path, page.encode())


def _policy(script: str, style: str) -> str:
    parts = (
        "default-src 'none'",
        f"script-src {digest_source(script)} blob: 'wasm-unsafe-eval'",
        'worker-src blob:',
        f'style-src {digest_source(style)}',
        'img-src data:',
        "base-uri 'none'",
        "form-action 'none'",
    )
    return '; '.join(parts)


def _asset(name: str) -> str:
    return importlib.resources.files('ganfoundry.export').joinpath('assets', name).read_text('utf-8')


@functools.cache
def _template() -> jinja2.Template:
    return page_templates('ganfoundry.export').get_template('page.html')
