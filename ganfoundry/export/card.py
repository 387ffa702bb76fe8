"""The model card of a network, README.md of the hub: every number in it comes from the network's records."""

from __future__ import annotations

import json
import re
from typing import Any

from ganfoundry.export.facts import OFFICIAL, Facts, Measured
from ganfoundry.export.yaml_text import to_yaml
from ganfoundry.network import Network
from torch_utils.summary import count
from training.registry import RECIPES

LIBRARY = 'ganfoundry'
NOT_RECORDED = 'not recorded'
TASK = 'unconditional-image-generation'
# What Markdown and HTML could take for their own within a line: punctuation, and the beginnings of addresses.
MARKUP = re.compile(r'[\\`*_{}\[\]()!|~<>&@]|:(?=//)|(?<=www)\.', re.IGNORECASE)


def card_of(network: Network, facts: Facts, *, license: str, official: bool, onnx: bool) -> str:
    """Returns README.md: the front matter in YAML, and a page of Markdown.

    Args:
        network: The network.
        facts: What is recorded about it.
        license: License of the weights.
        official: Whether model.safetensors has the names of StyleGAN2-ADA.
        onnx: Whether generator.onnx lies next to it.
    """
    front = to_yaml(front_matter(network, facts, license))
    parts = [
        f'# {plain(title_of(network, facts))}',
        '![Samples](samples.png)',
        _table(['', ''], _recipe(network, facts, license)),
        '## Metrics',
        _metrics(facts),
        '## Use',
        _use(network, official=official, onnx=onnx),
        '## Limits',
        _limits(network, facts),
    ]
    return f'---\n{front}---\n\n' + '\n\n'.join(parts) + '\n'


def front_matter(network: Network, facts: Facts, license: str) -> dict[str, Any]:
    """Returns the metadata of the card. Arguments are those of `card_of`."""
    metadata: dict[str, Any] = {
        'license': license,
        'library_name': LIBRARY,
        'pipeline_tag': TASK,
        'tags': ['gan', 'image-generation', network.config.cfg],
    }
    if facts.measured:
        result = {
            'task': {'type': TASK},
            'dataset': {'name': facts.data_name or NOT_RECORDED, 'type': facts.data_name or NOT_RECORDED},
            'metrics': [_entry(measured) for measured in facts.measured],
        }
        metadata['model-index'] = [{'name': title_of(network, facts), 'results': [result]}]
    return metadata


def _entry(measured: Measured) -> dict[str, Any]:
    """Returns one metric of the model index."""
    details = {name: measured.provenance.get(name) for name in ('digest', 'num_fakes', 'num_reals', 'reals_sha256')}
    args = {'detector': measured.detector or None, 'standard_error': measured.std, **details}
    return {
        'type': measured.metric,
        'name': f'{measured.key} = {measured}',
        'value': measured.value,
        'args': {name: value for name, value in args.items() if value is not None},
    }


def title_of(network: Network, facts: Facts) -> str:
    """Returns the title: the recipe, the data set, the size of the images."""
    data = '' if facts.data_name is None else f' on {facts.data_name}'
    return f'{network.config.cfg}{data}, {network.spec.width}x{network.spec.height}'


def _recipe(network: Network, facts: Facts, license: str) -> list[list[str]]:
    cfg, record = network.config, network.snapshot.record
    name, official, shown = cfg.cfg, record.get(OFFICIAL), network.snapshot.nimg / 1000
    converted = f'{official["file"]}, sha256 {official["sha256"]}' if official else ''
    rows = [
        ['Generator', f'`{name}`, {count(network.module)[0]:,} parameters'],
        ['Paper', plain(RECIPES.get(name).paper) if name in RECIPES.names() else ''],
        ['Converted from', plain(converted)],
        ['Images', plain(str(network.spec))],
        ['Classes', plain(', '.join(network.class_names))],
        ['Data set', plain(facts.data_name or NOT_RECORDED)],
        ['Digest of the data set', plain(facts.data_digest or NOT_RECORDED)],
        ['License of the data set', plain(facts.data_license or NOT_RECORDED)],
        ['License of the weights', plain(license)],
        ['Training', NOT_RECORDED if official else f'{shown:g} thousand images shown, batch {cfg.batch}'],
        ['Cost', NOT_RECORDED if facts.hours is None else f'{facts.hours:.3g} hours on {_devices(cfg.gpus)}'],
        ['Digest of the network', network.sha256],
        ['Commit of the code', plain(str(record.get('commit') or NOT_RECORDED))],
    ]
    return [row for row in rows if row[1]]


def _devices(gpus: int) -> str:
    return 'one device' if gpus == 1 else f'{gpus} GPUs'


def _metrics(facts: Facts) -> str:
    if not facts.measured:
        return 'No metric of this snapshot is recorded.'
    rows = [
        [
            f'`{measured.key}`',
            str(measured),
            measured.detector or 'none',
            str(measured.provenance.get('num_fakes', '')),
            str(measured.provenance.get('reals_sha256', ''))[:16],
        ]
        for measured in facts.measured
    ]
    rows = [[row[0], *(plain(text) for text in row[1:])] for row in rows]
    table = _table(['metric', 'value', 'detector', 'generated images', 'digest of the real images'], rows)
    return f'{table}\n\n± is the standard error; a value without it was measured once.'


def _use(network: Network, *, official: bool, onnx: bool) -> str:
    conditional = network.spec.label_dim > 0
    label = ', class_idx=0' if conditional else ''
    parts = [
        'In the folder of these files, with the package `ganfoundry`:',
        _code(
            'import ganfoundry as gf\n'
            "G = gf.load('model.safetensors')\n"
            f'images = G.images(seeds=range(16), psi=0.7{label})  # {_shape(network)}'
        ),
    ]
    if official:
        parts += [
            'The tensors of `model.safetensors` have the names of StyleGAN2-ADA for PyTorch, and `G_kwargs` in its '
            'header the arguments of its class `Generator`:',
            _code(
                'import json, safetensors\n'
                "with safetensors.safe_open('model.safetensors', 'pt') as file:\n"
                "    kwargs = json.loads(file.metadata()['G_kwargs'])\n"
                '    tensors = {name: file.get_tensor(name) for name in file.keys()}'
            ),
        ]
    if onnx:
        inputs = {'z': f'np.random.randn(4, {network.module.z_dim}).astype(np.float32)'}
        if conditional:
            inputs['c'] = f'np.eye({network.spec.label_dim}, dtype=np.float32)[[0, 0, 0, 0]]'
        feeds = ', '.join(f"'{name}': {value}" for name, value in inputs.items())
        parts += [
            'With onnxruntime:',
            _code(
                'import numpy as np, onnxruntime\n'
                "session = onnxruntime.InferenceSession('generator.onnx')\n"
                f'feeds = {{{feeds}}}\n'
                "if any(value.name == 'psi' for value in session.get_inputs()):\n"
                "    feeds['psi'] = np.array(0.7, np.float32)\n"
                "img = session.run(['img'], feeds)[0]  # float32, nominally in [-1, 1]"
            ),
        ]
    return '\n\n'.join(parts)


def _shape(network: Network) -> str:
    spec = network.spec
    return f'uint{spec.bits} [16, {spec.height}, {spec.width}, {spec.channels}]'


def _limits(network: Network, facts: Facts) -> str:
    lines = [
        f'The network draws {plain(str(network.spec).partition(",")[0])} images like those of its data set, and no '
        'others.',
        'Truncation (psi below 1) makes images more typical and less varied. The metrics are those of psi 1.',
        'The license of the weights does not replace the rights in the images of the data set.',
    ]
    copies = [measured for measured in facts.measured if measured.is_memorization]
    lines += [
        f'Memorization: `{measured.key}` = {plain(str(measured))}, the share of generated images that are not copies '
        'of images of the data set.'
        for measured in copies
    ] or ['Whether it repeats images of its data set was not measured.']
    return '\n'.join(f'- {line}' for line in lines)


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ['---'] * len(head), *rows]
    return '\n'.join(f'| {" | ".join(line)} |' for line in lines)


def _code(text: str) -> str:
    return f'```python\n{text}\n```'


def plain(text: str) -> str:
    """Returns a text of a user on one line of Markdown, in which nothing is markup."""
    printable = ''.join(char if char.isprintable() else ' ' for char in text.encode('utf-8', 'replace').decode())
    return MARKUP.sub(lambda found: f'&#{ord(found[0])};', printable)


def config_of(network: Network, record: dict[str, Any], license: str) -> str:
    """Returns config.json: the public record of the network, and what identifies it.

    Args:
        network: The network.
        record: Its public record.
        license: License of the weights.
    """
    head = {
        'library_name': LIBRARY,
        'architectures': [record['config']['generator']['kind']],
        'license': license,
        'network_sha256': network.sha256,
        'nimg': network.snapshot.nimg,
    }
    return json.dumps({**head, **record}, indent=2) + '\n'
