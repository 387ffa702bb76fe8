"""The command `generate.py`: one picture per seed or latent, a sheet of them, or a picture drawn again.

Letters: N images, C channels, H and W image size.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from pathlib import Path

from dnnlib.errors import ConfigError
from ganfoundry.command_options import given_options
from ganfoundry.drawing import batch_for, check_finite, draw_points, make_outdir, measure_batch_norm
from ganfoundry.jobs import Job, Settings, check_size, job_of, one_label, parse_wanted
from ganfoundry.network import Network, load
from ganfoundry.pictures import check_names_free, write_pictures
from ganfoundry.redraw import job_of_picture, mixing_of_picture, read_picture
from ganfoundry.sheets import sheet_text, write_sheet
from ganfoundry.style_grid import draw_grid_again
from ganfoundry.transform_option import apply_transform, parse_transform

# Options that --from takes from the picture, and their spellings.
OF_A_PICTURE = {
    'seeds': '--seeds',
    'latents': '--latents',
    'projected_w': '--projected-w',
    'class_text': '--class',
    'grid': '--grid',
    'truncation_psi': '--trunc',
    'noise_mode': '--noise-mode',
    'noise_seed': '--noise-seed',
    'translate': '--translate',
    'rotate': '--rotate',
    'recalibrate': '--recalibrate',
    'precision': '--precision',
    'batch': '--batch',
}


@dataclass(frozen=True, kw_only=True, slots=True)
class GenerateOptions:
    """The options of generate.py under their names in Python; `ganfoundry/commands/generate.py` describes each."""

    network: str
    seeds: str | None = None
    latents: tuple[str, ...] = ()
    projected_w: str | None = None
    class_text: str | None = None  # --class
    truncation_psi: float | None = None
    noise_mode: str | None = None
    noise_seed: int | None = None
    translate: str | None = None
    rotate: float | None = None
    recalibrate: bool = False
    grid: str | None = None
    picture: str | None = None  # --from
    outdir: str = 'out'
    overwrite: bool = False
    batch: int | None = None
    precision: str | None = None
    plugin: tuple[str, ...] = ()
    device: str | None = None


def run_generate(options: GenerateOptions) -> None:
    """Carries out a command line of generate.py."""
    if options.picture is not None:
        draw_again(options, Path(options.picture))
        return
    psi = 1 if options.truncation_psi is None else options.truncation_psi
    check_finite(psi, '--trunc')
    transform = parse_transform(options.translate, options.rotate)
    wanted = parse_wanted(options.seeds, options.latents, options.projected_w, options.class_text, options.grid)
    noise_mode = options.noise_mode or 'const'
    if options.noise_seed is not None and noise_mode != 'random':
        raise ConfigError(f'--noise-seed={options.noise_seed}: {noise_mode} noise has no seed; add --noise-mode=random')
    wanted = replace(wanted, noise_seed=options.noise_seed)
    network = load_network(options, options.precision or 'fp32')
    settings = Settings(
        truncation_psi=psi,
        noise_mode=noise_mode,
        recalibrate=options.recalibrate,
        batch=batch_for(noise_mode, options.batch or 8),
        transform=transform,
    )
    carry_out(job_of(wanted, network, psi), settings, network, options)


def load_network(options: GenerateOptions, precision: str) -> Network:
    """Loads the network of the command line."""
    return load(options.network, device=options.device or 'auto', precision=precision, plugin=options.plugin)


def draw_again(options: GenerateOptions, path: Path) -> None:
    """Draws a picture again from its own text chunks."""
    if given := given_options(options, OF_A_PICTURE):
        raise ConfigError(f'{", ".join(given)}: --from takes this from the picture; drop it, or drop --from')
    picture = read_picture(path)
    network = load_network(options, picture.precision)
    if network.sha256 != picture.network_sha256:
        raise ConfigError(
            f'--from={path}: was drawn by the network with sha256 {picture.network_sha256}, and {network.path} has '
            f'{network.sha256}; name the network {picture.network}'
        )
    if picture.styles is not None:
        mixing = mixing_of_picture(picture, network)
        draw_grid_again(network, mixing, make_outdir(options.outdir) / path.name, overwrite=options.overwrite)
        return
    carry_out(job_of_picture(picture, network), picture.settings, network, options)


def carry_out(job: Job, settings: Settings, network: Network, options: GenerateOptions) -> None:
    """Draws the images of a job and writes them to --outdir.

    Args:
        job: The images.
        settings: How they are drawn.
        network: The network.
        options: The command line.
    """
    apply_transform(network.module, settings.transform, network.spec, str(network.path))
    if job.columns is not None:
        check_size(job, network.spec)
    if settings.recalibrate:
        measure_batch_norm(network.module, one_label(job.points)[None], settings.truncation_psi)
    info = network.info(
        truncation_psi=settings.truncation_psi, noise_mode=settings.noise_mode, recalibrate=settings.recalibrate
    )
    info |= settings.transform.record()
    drawn = draw_points(
        network.module,
        job.points,
        truncation_psi=settings.truncation_psi,
        noise_mode=settings.noise_mode,
        bits=network.spec.bits,
        batch=settings.batch,
    )
    outdir = make_outdir(options.outdir)
    if job.columns is not None:
        text = {**info, **sheet_text(job, settings.batch)}
        write_sheet(drawn, job, outdir / f'{job.name}.png', text, overwrite=options.overwrite)
        return
    count = len(job.points)
    if job.position is not None:
        drawn, count = itertools.islice(drawn, job.position, job.position + 1), 1
    if not options.overwrite:
        check_names_free(outdir, job.points, info)
    write_pictures(drawn, outdir, info, count)
