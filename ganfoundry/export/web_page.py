"""A page with a generator inside: one HTML file that opens from file:// and draws without a server.

The page holds the network as ONNX, its runtime and the WebAssembly of the runtime, gzipped and base64-coded in elements
that no browser executes. page_files/ has what is written by hand. Everything that comes from the network's record is
JSON; the page shows it as text.
"""

from __future__ import annotations

import gzip
import hashlib
import json
from base64 import b64encode
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dnnlib.errors import ConfigError
from dnnlib.files import write_bytes
from ganfoundry.export.web_runtime import VERSION, WebRuntime
from ganfoundry.network import Network

FILES = Path(__file__).with_name('page_files')
SCRIPTS = ('random_state.js', 'plane.js', 'picture.js', 'generator.js', 'page.js')  # in this order one module
MAX_MODEL = 350 * 2**20  # bytes of a gzipped model; browsers hold texts of 512 MiB


def describe_network(
    network: Network, *, psi: float | None, noise: str, recalibrate: bool, noise_maps: Mapping[str, tuple[int, int]]
) -> dict[str, Any]:
    """Returns the facts that the page needs, as JSON holds them.

    Args:
        network: The network.
        psi: Truncation that the model has fixed; None if it is an input.
        noise: Noise of the model unless it is an input: 'const' or 'none'.
        recalibrate: Whether batch-norm statistics were measured again.
        noise_maps: Height and width of the noise maps that are inputs, by name.
    """
    spec, path, nimg = network.spec, network.path, network.snapshot.nimg
    images = str(spec).partition(', ')[0]
    info = network.info(recalibrate=recalibrate)
    texts = {name: info[name] for name in ('network', 'network_sha256', 'nimg', 'precision', 'recalibrate')}
    named_by_run = path.stem.startswith('network-snapshot') and path.parent.name
    return {
        'title': path.parent.name if named_by_run else path.stem,
        'description': f'A generator of images, {images}, trained on {nimg / 1000:g} thousand images',
        'width': spec.width,
        'height': spec.height,
        'bits': spec.bits,
        'z_dim': network.module.z_dim,
        'c_dim': spec.label_dim,
        'classes': list(network.class_names) or [f'class {index}' for index in range(spec.label_dim)],
        'psi': psi,
        'noise': noise,
        'noise_maps': [[name, *size] for name, size in noise_maps.items()],
        'texts': {name: value if isinstance(value, str) else json.dumps(value) for name, value in texts.items()},
        'notes': _notes(network, psi, bool(noise_maps)),
        'facts': [['File', path.name], ['sha256', network.sha256], ['Recipe', f'--cfg={network.config.cfg}']],
    }


def _notes(network: Network, psi: float | None, has_noise: bool) -> list[str]:
    """Returns sentences about what the page does not show."""
    notes = []
    if (channels := network.spec.channels) > 4:
        notes.append(f'The network draws {channels} channels; the page shows and saves the first three as RGB.')
    if network.spec.bits == 16:
        notes.append('The network draws 16 bits per channel; the screen shows 8, and a saved PNG holds all 16.')
    if psi is not None:
        notes.append(f'Truncation psi is {psi:g} in this page.')
    if has_noise:
        notes.append('The noise of a seed is another one than generate.py --noise-mode=random draws.')
    return notes


def write_page(path: Path, facts: dict[str, Any], model: bytes, noise: bytes, runtime: WebRuntime) -> None:
    """Writes the page, atomically. Equal input gives equal bytes.

    Args:
        path: The file.
        facts: See `describe_network`.
        model: The network as ONNX: z [, c] [, psi] [, noise maps] -> img.
        noise: The stored noise of the maps in their order, float32 in little-endian order; empty if they are no inputs.
        runtime: The runtime.

    Raises:
        ConfigError: If the model is too large for a page.
    """
    packed = {name: gzip.compress(part, 9, mtime=0) for name, part in (('model', model), ('noise', noise))}
    packed |= {'runtime': runtime.module, 'wasm': runtime.wasm}
    if (size := len(packed['model'])) > MAX_MODEL:
        raise ConfigError(
            f'--format=html: the network has {size / 2**20:.0f} MiB, and a page holds at most '
            f'{MAX_MODEL / 2**20:.0f}; use --format=onnx'
        )
    write_bytes(path, page_of(facts, packed).encode())


def page_of(facts: dict[str, Any], packed: Mapping[str, bytes]) -> str:
    """Returns the text of the page. packed: the gzipped parts by name."""
    style, script = _text('page.css'), '\n'.join(map(_text, SCRIPTS))
    record = json.dumps(facts).replace('<', '\\u003c')  # no text of a record ends the element
    parts = [
        f'<script type="application/json" id="network">{record}</script>',
        f'<script type="text/plain" id="worker">{_text("worker.js")}</script>',
        *(_part(name, part) for name, part in packed.items()),
    ]
    values = {
        'policy': _policy(script, style),
        'style': style,
        'version': VERSION,
        'parts': '\n'.join(parts),
        'script': script,
    }
    return _fill(_text('page.html'), values)


def _part(name: str, packed: bytes) -> str:
    return f'<script type="text/plain" id="part-{name}">{b64encode(packed).decode()}</script>'


def _text(name: str) -> str:
    return (FILES / name).read_text(encoding='utf-8')


def _fill(template: str, values: dict[str, str]) -> str:
    """Replaces each {{ name }} of a template, once; names in the values are left alone."""
    pieces = []
    for name, value in values.items():
        before, _, template = template.partition(f'{{{{ {name} }}}}')
        pieces += [before, value]
    return ''.join([*pieces, template])


def _policy(script: str, style: str) -> str:
    """Returns the Content Security Policy: this script, this style, what they unpack, and no connection."""
    return '; '.join(
        (
            "default-src 'none'",
            f"script-src {_source_of(script)} blob: 'wasm-unsafe-eval'",
            'worker-src blob:',
            f'style-src {_source_of(style)}',
            'img-src data:',
            "base-uri 'none'",
            "form-action 'none'",
        )
    )


def _source_of(text: str) -> str:
    """Returns the source of an element with this text, as a policy names it."""
    return f"'sha256-{b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
