"""The command `inspect_network.py`: one kind of picture per paper's question, with its numbers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dnnlib import files
from dnnlib.addresses import is_url
from dnnlib.errors import ConfigError, RecordError
from dnnlib.files import sha256_of
from dnnlib.log import print_note
from dnnlib.records import RESULTS, read_record
from dnnlib.registry import load_file
from ganfoundry.class_option import parse_class
from ganfoundry.command_options import given_options
from ganfoundry.drawing import check_finite, make_outdir
from ganfoundry.inspection.blocks import inspect_blocks
from ganfoundry.inspection.drawn import Drawing
from ganfoundry.inspection.enlarge import inspect_enlarge
from ganfoundry.inspection.features import check_images, inspect_features
from ganfoundry.inspection.finding import Finding, write_finding
from ganfoundry.inspection.flops import inspect_flops
from ganfoundry.inspection.gates import inspect_gates
from ganfoundry.inspection.involution import inspect_involution
from ganfoundry.inspection.kernels import inspect_kernels
from ganfoundry.inspection.losses import draw_losses
from ganfoundry.latent_options import parse_seeds
from ganfoundry.network import load
from ganfoundry.pictures import check_free
from ganfoundry.points import points_of_seeds
from ganfoundry.reals import data_sets
from torch_utils.devices import pick_device, prepare
from training.data.dataset import ImageDataset
from training.run.open_network import open_network, with_latest
from training.run.snapshot import Snapshot

DRAWN: dict[str, Callable[[Drawing], Finding]] = {  # of the images of seeds, and of one network
    'blocks': inspect_blocks,
    'gates': inspect_gates,
    'kernels': inspect_kernels,
    'involution': inspect_involution,
    'enlarge': inspect_enlarge,
}
MAX_IMAGES = 64  # of one batch
OF_DRAWINGS = {
    'seeds': '--seeds',
    'class_text': '--class',
    'truncation_psi': '--trunc',
    'noise_mode': '--noise-mode',
}
OF_FEATURES = {'data': '--data', 'images': '--images'}
OF_FLOPS = {'rule': '--rule'}


@dataclass(frozen=True, kw_only=True, slots=True)
class InspectOptions:
    """The options of inspect_network.py under their names in Python; see `ganfoundry/commands/inspect_network.py`."""

    network: tuple[str, ...]
    what: str
    seeds: str | None = None
    class_text: str | None = None  # --class
    truncation_psi: float = 1
    noise_mode: str = 'const'
    data: str | None = None
    images: int | None = None
    rule: str | None = None
    outdir: str = 'out'
    overwrite: bool = False
    plugin: tuple[str, ...] = ()
    device: str | None = None


def run_inspection(options: InspectOptions) -> None:
    """Carries out a command line of inspect_network.py."""
    check_options(options)
    if options.what == 'losses':
        inspect_losses(options)
        return
    if options.what in DRAWN:
        finding, text = of_drawings(options)
    else:
        finding, text = of_snapshots(options)
    folder = make_outdir(options.outdir)
    check_names(folder, options, text)
    write_finding(finding, folder, options.what, text)


def check_options(options: InspectOptions) -> None:
    """Raises ConfigError for an option that the chosen picture does not use, and for values that make no sense."""
    unused = dict(OF_DRAWINGS) if options.what not in DRAWN else {}
    unused |= OF_FEATURES if options.what != 'features' else {}
    unused |= OF_FLOPS if options.what != 'flops' else {}
    if given := given_options(options, unused):
        raise ConfigError(f'{", ".join(given)}: --what={options.what} does not use it; drop it')
    if options.what in DRAWN and len(options.network) > 1:
        raise ConfigError(f'--network: --what={options.what} takes one network, not {len(options.network)}')
    check_finite(options.truncation_psi, '--trunc')


def of_drawings(options: InspectOptions) -> tuple[Finding, dict[str, Any]]:
    """Returns what an inspection of drawn images finds, and the origin of the images."""
    seeds = parse_seeds(options.seeds or '0-7')
    if len(seeds) > MAX_IMAGES:
        raise ConfigError(f'--seeds={options.seeds}: {len(seeds)} images; one sheet shows at most {MAX_IMAGES}')
    network = load(options.network[0], device=options.device or 'auto', plugin=options.plugin)
    label = parse_class(options.class_text, network.spec.label_dim, network.class_names)
    drawing = Drawing(
        network=network,
        points=list(points_of_seeds(seeds, network.module.z_dim, label)),
        truncation_psi=options.truncation_psi,
        noise_mode=options.noise_mode,
    )
    text = network.info(truncation_psi=options.truncation_psi, noise_mode=options.noise_mode)
    return DRAWN[options.what](drawing), {**text, 'what': options.what, 'seeds': str(seeds), 'class': label.text}


def of_snapshots(options: InspectOptions) -> tuple[Finding, dict[str, Any]]:
    """Returns what an inspection of whole snapshots finds, and their origin."""
    for plugin in options.plugin:
        load_file(plugin)
    snapshots = [open_network(where) for where in options.network]
    text: dict[str, Any] = {
        'what': options.what,
        'networks': [{'network': each.path.name, 'network_sha256': sha256_of(each.path)} for each in snapshots],
    }
    if options.what == 'flops':
        return inspect_flops(snapshots, options.rule or 'macs'), text
    device = pick_device(options.device, kinds=('cpu', 'cuda', 'mps'))
    prepare(device)
    reals = real_images(snapshots[0], options.data)
    check_images(reals, snapshots)
    try:
        return inspect_features(snapshots, reals, options.images or 8, device), {**text, 'data': reals.name}
    finally:
        reals.close()


def real_images(snapshot: Snapshot, data: str | None) -> ImageDataset:
    """Returns the real images of --data, or those of a network's training."""
    sets = data_sets(snapshot, data, None, needs_reals=True, notify=print_note)
    reals = sets.labels or sets.reals
    assert reals is not None
    return reals


def inspect_losses(options: InspectOptions) -> None:
    """Writes losses.png and losses.json of one or more runs."""
    folders = []
    for where in options.network:
        folder = Path(with_latest(where))
        if is_url(where) or not folder.is_dir():
            raise ConfigError(f'--what=losses: {where} is not a folder; name the folder of a run')
        folders.append(folder)
    if len({folder.name for folder in folders}) < len(folders):
        raise ConfigError('--network: two runs have one name, and so would their curves')
    outdir = make_outdir(options.outdir)
    text: dict[str, Any] = {'what': 'losses', 'networks': [folder.name for folder in folders]}
    check_names(outdir, options, text)
    facts = draw_losses(folders, outdir / 'losses.png')
    files.write_json(outdir / 'losses.json', {**text, **facts})
    print(outdir / 'losses.png')
    print(outdir / 'losses.json')


def check_names(folder: Path, options: InspectOptions, text: dict[str, Any]) -> None:
    """Raises ConfigError if a file of another origin would be replaced."""
    check_free(folder / f'{options.what}.png', text, overwrite=options.overwrite)
    path = folder / f'{options.what}.json'
    if options.overwrite or not path.exists():
        return
    try:
        found = read_record(path, RESULTS).values
    except RecordError:
        found = {}
    if any(found.get(key) != value for key, value in text.items()):
        raise ConfigError(f'{path}: exists and is of another origin; choose another --outdir, or add --overwrite')
