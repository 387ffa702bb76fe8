"""The format hub: a folder as the Hugging Face hub shows it, and its upload."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

from dnnlib.errors import ConfigError, ExportError
from dnnlib.files import write_bytes
from ganfoundry.class_option import NO_LABEL, Label, parse_class
from ganfoundry.drawing import draw_points, save_image
from ganfoundry.export.card import card_of, config_of
from ganfoundry.export.facts import facts_of
from ganfoundry.export.onnx_file import check_packages, export_parts
from ganfoundry.export.options import ExportOptions
from ganfoundry.export.public import public_record
from ganfoundry.export.weights import write_weights
from ganfoundry.jobs import Job
from ganfoundry.latent_options import Seeds
from ganfoundry.network import Network
from ganfoundry.points import PointList, points_of_seeds
from ganfoundry.sheets import collect, sheet_text
from torch_utils.images import tile
from training.interface import ImageSpec
from training.run.export import official_generator

SHEET = (8, 4)  # columns and rows of samples.png, at most
SHEET_PIXELS = (2048, 1024)  # width and height of samples.png, at most
BATCH = 8
_PART = r'[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,94}[A-Za-z0-9_])?'
REPO = re.compile(rf'{_PART}/{_PART}')
EXTRA = 'pip install "ganfoundry[hub]"'


def check_hub(options: ExportOptions) -> None:
    """Raises ConfigError for options and packages that do not suffice for --format=hub."""
    if options.license is None:
        raise ConfigError('--license is needed: the hub shows it; for instance --license=apache-2.0, or other')
    if options.onnx:
        check_packages('--onnx')
    if options.push is None:
        return
    if REPO.fullmatch(options.push) is None or '--' in options.push or '..' in options.push:
        raise ConfigError(f'--push={options.push}: expected USER/NAME of letters, digits, and single - _ .')
    if importlib.util.find_spec('huggingface_hub') is None:
        raise ConfigError(f'--push needs huggingface_hub: {EXTRA}')


def write_hub(network: Network, folder: Path, options: ExportOptions) -> list[str]:
    """Writes the files of --format=hub to a folder and returns lines about them. No network access."""
    license = options.license
    assert license is not None
    lines = [write_weights(network, folder, license)]
    if options.onnx:
        lines += [str(report) for report in export_parts(network, folder, options.onnx_settings())]
    write_samples(network, folder / 'samples.png')
    write_bytes(folder / 'config.json', config_of(network, public_record(network), license).encode())
    facts = facts_of(network)
    official = official_generator(network.config, network.spec) is not None
    card = card_of(network, facts, license=license, official=official, onnx=options.onnx)
    write_bytes(folder / 'README.md', card.encode())
    return [*lines, f'README.md: {len(facts.measured)} measured numbers, license {license}']


def write_samples(network: Network, path: Path) -> None:
    """Writes a sheet of the first seeds at psi 1; those of a conditional network take its classes in turn."""
    columns, rows = sheet_of(network.spec)
    seeds = range(columns * rows)
    labels = _labels(network, len(seeds))
    points = [next(points_of_seeds([seed], network.module.z_dim, labels[seed])) for seed in seeds]
    drawn = draw_points(network.module, points, bits=network.spec.bits, batch=BATCH)
    job = Job(points=PointList(Seeds(()), network.module.z_dim, labels[0], points), columns=columns)
    images = collect(drawn, len(points), path)
    save_image(tile(images, columns), path, {**network.info(), **sheet_text(job, BATCH)})


def sheet_of(spec: ImageSpec) -> tuple[int, int]:
    """Returns columns and rows of samples.png for images of a size."""
    across, down = SHEET_PIXELS[0] // spec.width, SHEET_PIXELS[1] // spec.height
    return max(1, min(SHEET[0], across)), max(1, min(SHEET[1], down))


def _labels(network: Network, count: int) -> list[Label]:
    label_dim = network.spec.label_dim
    if not label_dim:
        return [NO_LABEL] * count
    return [parse_class(index % label_dim, label_dim, network.class_names) for index in range(count)]


def push_hub(folder: Path, options: ExportOptions) -> list[str]:
    """Uploads the folder if --push asks for it, and returns lines about that."""
    return [] if options.push is None else [f'{push(folder, options.push)}: uploaded']


def push(folder: Path, repo: str, *, endpoint: str | None = None, token: str | None = None) -> str:
    """Uploads a folder to the hub as one commit, and returns the address of the model.

    Args:
        folder: The folder, as `write_hub` has written it.
        repo: USER/NAME; created if it does not exist.
        endpoint: Address of the hub; None for that of huggingface_hub.
        token: Access token; None for the one that is logged in.

    Raises:
        ExportError: If the hub cannot be reached, or refuses. The folder stays as it is.
    """
    import huggingface_hub

    api = huggingface_hub.HfApi(endpoint=endpoint, token=token)
    try:
        api.create_repo(repo, exist_ok=True)
        api.upload_folder(repo_id=repo, folder_path=folder, commit_message='Upload by ganfoundry')
    except Exception as error:  # the client and its HTTP library have no common error class
        reason = ' '.join(str(error).split())
        raise ExportError(
            f'--push={repo}: {folder} is complete, and its upload failed ({reason}); log in with `hf auth login`, '
            f'then upload it with `hf upload {repo} {folder}`'
        ) from error
    return f'{api.endpoint}/{repo}'
