"""Transfer learning: a new run starts from the networks of another and reports the outcome for every tensor.

A tensor is copied if name, shape and kind of number are equal; tensors are not broadcast, padded or cut. The exception
is a mapping network that receives labels (`_widen`).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from dnnlib.addresses import is_url, public_url
from dnnlib.download import fetch
from dnnlib.errors import CheckpointError
from dnnlib.files import sha256_of
from dnnlib.registry import suggest
from torch_utils.checkpoint import TENSORS, Tensors, load_state
from training.legacy.convert import load_official
from training.legacy.reader import is_pickle
from training.run.snapshot import read_networks
from training.run.transfer_flags import network_flags

OFFICIAL_URL = 'https://nvlabs-fi-cdn.nvidia.com/stylegan2-ada-pytorch/pretrained/transfer-learning-source-nets/'
# StyleGAN2-ADA's names of networks, and their files under OFFICIAL_URL.
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
    """Networks to start from.

    Attributes:
        tensors: tensors by name, such as 'G_ema.mapping.fc0.weight'.
        origin: the run's record of them: 'given' on the command line, 'file', 'sha256', and 'url' if there is one.
    """

    tensors: Tensors
    origin: dict[str, str]


@dataclass(kw_only=True, slots=True)
class TransferReport:
    """Outcome of a transfer for the tensors of one network.

    Attributes:
        origin: name of the network in the file.
        share: fraction of the network's numbers that were copied, in [0, 1].
        taken: names of the tensors that were copied.
        widened: names of the tensors that were widened for labels.
        skipped: reasons by name of the tensors that were not copied.
    """

    origin: str
    share: float = 0.0
    taken: list[str] = field(default_factory=list)
    widened: list[str] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)

    def summary(self) -> str:
        """Returns a one-line summary."""
        parts = [f"took {len(self.taken)} tensors of the file's {self.origin}, {self.share:.1%} of its numbers"]
        if self.widened:
            parts.append(f'widened {len(self.widened)}')
        reasons = Counter(why.partition(':')[0] for why in self.skipped.values())
        return ', '.join(parts) + (':' if reasons else '') + ', '.join(f' {n} {why}' for why, n in reasons.items())


def address_of(text: str) -> str:
    """Returns the URL of an official short name, or the text itself."""
    return OFFICIAL_URL + OFFICIAL[text] if text in OFFICIAL else text


def load_source(text: str, sha256: str | None = None) -> Source:
    """Returns the networks named by --resume.

    Args:
        text: a snapshot, an official .pkl, a training state (its folder or the tensors file in it), the http(s) URL of
            a file, or one of `OFFICIAL`.
        sha256: required digest of the file, or None.

    Raises:
        CheckpointError: if there is no such file, or if it has no networks.
        DownloadError: if a download fails or has another digest.
    """
    address = address_of(text)
    path = fetch(address, sha256=sha256)
    if path.is_dir() and not (path / TENSORS).is_file():
        raise CheckpointError(
            f'--resume={text}: this folder is neither a run nor a training state; name one, or a file'
        )
    if path.is_dir():
        path = path / TENSORS
    if not path.is_file():
        is_name = '.' not in text and '/' not in text
        names = ' or name; ' + suggest(text, [*OFFICIAL, 'auto', 'latest', 'noresume']) if is_name else ''
        raise CheckpointError(f'--resume={text}: no such file{names}')
    if path.name == TENSORS:
        tensors = load_state(path.parent)[0]
    else:
        tensors = load_official(path).tensors if is_pickle(path) else read_networks(path)[0]
    origin = {'given': public_url(text), 'file': str(path.absolute()), 'sha256': sha256_of(path)}
    return Source(tensors=tensors, origin=origin | ({'url': public_url(address)} if is_url(address) else {}))


def transfer(
    networks: Mapping[str, torch.nn.Module],
    source: Source,
    say: Callable[[str], None],
    detail: Callable[[str], None],
) -> dict[str, Any]:
    """Copies every tensor of G, D and G_ema that fits.

    Args:
        networks: networks by name, 'G', 'D' and 'G_ema'; on the meta device, the report shows what would be copied.
        source: the networks to copy from. A snapshot has no G: G then starts from G_ema.
        say: receives the lines of the summary.
        detail: receives one line per tensor.

    Returns:
        The report as JSON values.

    Raises:
        CheckpointError: if no weight fits, or if a fitting tensor is not finite.
    """
    say(f'transfer: from {source.origin["file"]} (sha256 {source.origin["sha256"][:16]}...)')
    has_raw_G = any(name.startswith('G.') for name in source.tensors)
    reports, learned = {}, 0
    for prefix, net in networks.items():
        origin = 'G_ema' if prefix == 'G' and not has_raw_G else prefix
        mark = f'{origin}.'
        report = _copy(net, {k.removeprefix(mark): t for k, t in source.tensors.items() if k.startswith(mark)}, origin)
        weights = {name for name, p in net.named_parameters() if p.ndim > 1}  # ToRGB biases fit any network
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
        flags = network_flags(Path(source.origin['file'])) if 'file' in source.origin else None
        way_out = f'for networks of its shapes give {flags}'
        if flags is None:
            way_out = 'use the --cfg and the width (--cbase, --cmax) that it was trained with'
        raise CheckpointError(
            f'--resume={source.origin["given"]}: none of its weights fits this run, the architecture differs; {way_out}'
        )
    return {'source': source.origin, 'networks': reports}


@torch.no_grad()
def _copy(net: torch.nn.Module, there: Tensors, origin: str) -> TransferReport:
    """Copies the fitting tensors of `there` into `net`."""
    own = net.state_dict()
    report = TransferReport(origin=origin, skipped={name: UNKNOWN for name in there if name not in own})
    widened, total = _widen(net, there), sum(t.numel() for t in own.values())
    for name, tensor in own.items():
        offered = widened.get(name, there.get(name))
        why = ABSENT if offered is None else _misfit(offered, tensor)
        if offered is None or why:
            report.skipped[name] = why
            continue
        if not offered.isfinite().all():
            raise CheckpointError(
                f'--resume: {origin}.{name} holds NaN or infinity: that run has diverged; use an earlier snapshot'
            )
        tensor.copy_(offered)
        (report.widened if name in widened else report.taken).append(name)
        report.share += tensor.numel() / total
    return report


def _misfit(offered: torch.Tensor, own: torch.Tensor) -> str:
    """Returns the reason why a tensor cannot be copied, or an empty string."""
    if offered.shape != own.shape:
        return f'another shape: {list(offered.shape)} in the file, {list(own.shape)} here, keeps its initial value'
    if offered.is_floating_point() != own.is_floating_point():
        return f'another kind: {offered.dtype} in the file, {own.dtype} here, keeps its initial value'
    return ''


def _widen(net: Any, there: Tensors) -> Tensors:
    """Returns the first layer of a conditional mapping network, made from an unconditional one, or an empty dict.

    W [w, z] becomes [sqrt((z + w) / z) W, 0] [w, z + w]. The mapping network takes z first, then the embedded label, so
    that the conditional network starts with the unconditional one's images and learns the effect of labels. The factor
    compensates the equalized learning rate, which divides by the square root of the number of inputs. Random values
    instead of zeros would displace every w. There is no such rule for the removal of labels: the other layers depend on
    the embedding.
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
