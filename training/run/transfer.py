"""Transfer learning: a new run that starts from the networks of another, and says of every tensor what became of it.

A tensor is taken where name, shape and kind of number are equal; nothing is broadcast, padded or cut. One exception is
well defined: labels that join a mapping network (`_widen`).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import torch

from dnnlib.download import fetch
from dnnlib.errors import CheckpointError
from dnnlib.files import sha256_of
from dnnlib.http_file import is_url, public_url
from dnnlib.registry import suggest
from torch_utils.checkpoint import TENSORS, Tensors, load_state, load_tensors
from training.legacy.convert import load_official
from training.legacy.reader import is_pickle

OFFICIAL_URL = 'https://nvlabs-fi-cdn.nvidia.com/stylegan2-ada-pytorch/pretrained/transfer-learning-source-nets/'
# Networks that StyleGAN2-ADA names: files under OFFICIAL_URL.
OFFICIAL = {
    'ffhq256': 'ffhq-res256-mirror-paper256-noaug.pkl',
    'ffhq512': 'ffhq-res512-mirror-stylegan2-noaug.pkl',
    'ffhq1024': 'ffhq-res1024-mirror-stylegan2-noaug.pkl',
    'celebahq256': 'celebahq-res256-mirror-paper256-kimg100000-ada-target0.5.pkl',
    'lsundog256': 'lsundog-res256-paper256-kimg100000-noaug.pkl',
}
ABSENT = 'not in the file, keeps its initial value'
UNKNOWN = 'not in this network'


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """Networks to start from. tensors: by name, such as 'G_ema.mapping.fc0.weight'.

    origin: what a run's record says of them: 'given' on the command line, 'file', 'sha256', and 'url' if it has one.
    """

    tensors: Tensors
    origin: dict[str, str]


@dataclass(kw_only=True, slots=True)
class Report:
    """What became of the tensors of one network. origin: the network of the file that they are from.

    share: of the network's numbers, how many were taken, 0 to 1.
    """

    origin: str
    share: float = 0.0
    taken: list[str] = field(default_factory=list)
    widened: list[str] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)  # why, by name

    def summary(self) -> str:
        """One line for people."""
        parts = [f"took {len(self.taken)} tensors of the file's {self.origin}, {self.share:.1%} of its numbers"]
        parts += [f'widened {len(self.widened)}'] * bool(self.widened)
        reasons = Counter(why.partition(':')[0] for why in self.skipped.values())
        return ', '.join(parts) + (':' if reasons else '') + ', '.join(f' {n} {why}' for why, n in reasons.items())


def address_of(text: str) -> str:
    """What --resume names: the address behind an official short name, anything else as it is."""
    return OFFICIAL_URL + OFFICIAL[text] if text in OFFICIAL else text


def load_source(text: str, sha256: str | None = None) -> Source:
    """The networks that --resume names.

    text: a snapshot, an official .pkl, a training state (its folder, or the tensors file in it), an http(s) address of
    a file, or one of `OFFICIAL`. sha256: what the file must have. Raises CheckpointError or DownloadError.
    """
    address = address_of(text)
    path = fetch(address, sha256=sha256)
    if path.is_dir():
        path = path / TENSORS
    if not path.is_file():
        is_name = '.' not in text and '/' not in text
        names = ' or name; ' + suggest(text, [*OFFICIAL, 'auto', 'latest', 'noresume']) if is_name else ''
        raise CheckpointError(f'--resume={text}: no such file{names}')
    if path.name == TENSORS:
        tensors = load_state(path.parent)[0]
    else:
        tensors = load_official(path).tensors if is_pickle(path) else load_tensors(path)[0]
    origin = {'given': public_url(text), 'file': str(path.absolute()), 'sha256': sha256_of(path)}
    return Source(tensors=tensors, origin=origin | ({'url': public_url(address)} if is_url(address) else {}))


def transfer(
    networks: Mapping[str, torch.nn.Module],
    source: Source,
    say: Callable[[str], None],
    detail: Callable[[str], None],
) -> dict[str, Any]:
    """Copies every tensor of G, D and G_ema that fits, and returns the report as JSON holds it.

    networks: by name, 'G', 'D' and 'G_ema'; on the device 'meta' they tell what would be taken. A snapshot holds no G:
    G then starts from G_ema. say, detail: take the lines of the summary, and one a tensor. Raises CheckpointError where
    nothing that a network learns fits, or where what fits is not finite.
    """
    say(f'transfer: from {source.origin["file"]} (sha256 {source.origin["sha256"][:16]}...)')
    has_raw_G = any(name.startswith('G.') for name in source.tensors)
    reports, learned = {}, 0
    for prefix, net in networks.items():
        origin = 'G_ema' if prefix == 'G' and not has_raw_G else prefix
        mark = f'{origin}.'
        report = _copy(net, {k.removeprefix(mark): t for k, t in source.tensors.items() if k.startswith(mark)}, origin)
        weights = {name for name, p in net.named_parameters() if p.ndim > 1}  # biases of images fit anywhere
        learned += len(weights & {*report.taken, *report.widened})
        say(f'transfer: {prefix} {report.summary()}')
        for name in report.taken:
            detail(f'  {prefix}.{name}: taken')
        for name in report.widened:
            detail(f'  {prefix}.{name}: widened by zeros for the labels')
        for name, why in report.skipped.items():
            detail(f'  {prefix}.{name}: {why}')
        reports[prefix] = asdict(report)
    if learned == 0:
        raise CheckpointError(
            f'--resume={source.origin["given"]}: none of its weights fits this run; it is of another architecture: '
            f'take the --cfg and the width (--cbase, --cmax) that it was trained with'
        )
    return {'source': source.origin, 'networks': reports}


@torch.no_grad()
def _copy(net: torch.nn.Module, there: Tensors, origin: str) -> Report:
    """Takes into `net` what fits of the tensors that are there."""
    own = net.state_dict()
    report = Report(origin=origin, skipped={name: UNKNOWN for name in there if name not in own})
    widened, total = _widen(net, there), sum(t.numel() for t in own.values())
    for name, tensor in own.items():
        offered = widened.get(name, there.get(name))
        why = ABSENT if offered is None else _misfit(offered, tensor)
        if offered is None or why:
            report.skipped[name] = why
            continue
        if not offered.isfinite().all():
            raise CheckpointError(
                f'--resume: {origin}.{name} holds NaN or infinity: that run has diverged; take an earlier snapshot'
            )
        tensor.copy_(offered)
        (report.widened if name in widened else report.taken).append(name)
        report.share += tensor.numel() / total
    return report


def _misfit(offered: torch.Tensor, own: torch.Tensor) -> str:
    """Why a tensor cannot be taken; nothing if it can."""
    if offered.shape != own.shape:
        return f'another shape: {list(offered.shape)} in the file, {list(own.shape)} here, keeps its initial value'
    if offered.is_floating_point() != own.is_floating_point():
        return f'another kind: {offered.dtype} in the file, {own.dtype} here, keeps its initial value'
    return ''


def _widen(net: Any, there: Tensors) -> Tensors:
    """The first layer of a mapping network that labels have joined, from that of one without; otherwise nothing.

    W [w, z] becomes [sqrt((z + w) / z) W, 0] [w, z + w]: the mapping network takes z first, then the embedded label, so
    that the conditional network begins as the unconditional one, and learns what a label changes. The factor undoes
    that of the equalised learning rate, which divides by the square root of the number of inputs. (The columns'
    initial values in place of zeros would move every w at random.) A mapping network that loses its
    labels has no such rule: what its layers expect of an embedding cannot be left out.
    """
    name, embed = 'mapping.fc0.weight', 'mapping.embed.weight'
    own = net.state_dict()
    if name not in own or name not in there or embed not in own or embed in there:
        return {}
    z_dim = net.z_dim
    if there[name].shape != (own[name].shape[0], z_dim):
        return {}
    wide = there[name].new_zeros(own[name].shape)  # [w, z + w]
    wide[:, :z_dim] = there[name] * math.sqrt(wide.shape[1] / z_dim)
    return {name: wide}
