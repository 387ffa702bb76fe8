"""The command `style_mixing.py`: images that take some of their styles from a second image.

Letters: N images, C channels, H and W image size, L number of ws.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from dnnlib.errors import ConfigError
from dnnlib.log import print_note
from ganfoundry.class_option import NO_LABEL, Label, parse_class
from ganfoundry.drawing import Drawn, check_finite, draw_points, make_outdir
from ganfoundry.jobs import Job, Settings, check_size
from ganfoundry.latent_options import LatentsFile, Seeds, parse_points
from ganfoundry.network import Network, load
from ganfoundry.pictures import check_free, check_names_free, write_pictures
from ganfoundry.points import (
    Point,
    PointList,
    notes_on,
    points_of_file,
    points_of_seeds,
    read_file,
)
from ganfoundry.sheets import collect, sheet_text, visible, write_sheet
from ganfoundry.style_grid import (
    Mixing,
    draw_mixtures,
    draw_sources,
    grid_text,
    how,
    info_of,
    mixed,
    pairs_of,
    save_grid,
    styles_of,
)
from ganfoundry.style_layers import layers_of, parse_styles, table
from ganfoundry.style_report import distance_for, measured, print_report, write_report

LIST = 'list'  # --styles=list
MAX_PAIRS = 32  # columns of spectrum.png
GRID, REPORT = 'grid.png', 'report.json'


@dataclass(frozen=True, kw_only=True, slots=True)
class MixingOptions:
    """The options of style_mixing.py under their names in Python; see `ganfoundry/commands/style_mixing.py`."""

    network: str
    rows: str | None = None
    cols: str | None = None
    styles: str | None = None
    class_text: str | None = None  # --class
    truncation_psi: float = 1
    noise_mode: str = 'const'
    spectrum: bool = False
    report: bool = False
    outdir: str = 'out'
    overwrite: bool = False
    batch: int = 8
    precision: str = 'fp32'
    plugin: tuple[str, ...] = ()
    device: str | None = None


def run_mixing(options: MixingOptions) -> None:
    """Carries out a command line of style_mixing.py."""
    check_finite(options.truncation_psi, '--trunc')
    parts = parse_sources(options)
    network = load(options.network, device=options.device or 'auto', precision=options.precision, plugin=options.plugin)
    check_has_w(network)
    layers = layers_of(network.module, network.spec)
    if options.styles == LIST:
        print(table(layers))
        return
    settings = Settings(truncation_psi=options.truncation_psi, noise_mode=options.noise_mode, batch=options.batch)
    indices = parse_styles(options.styles, layers)
    rows, cols = (read_sources(part, option, network, options.class_text) for option, part in parts.items())
    mixing = Mixing(rows=rows, cols=cols, indices=indices, layers=layers, settings=settings)
    if options.spectrum or options.report:
        draw_single_layers(network, mixing, options)
    else:
        draw_grid(network, mixing, options)


def parse_sources(options: MixingOptions) -> dict[str, list[Seeds | LatentsFile]]:
    """Returns the seeds and files of --rows and --cols, by option. Raises ConfigError if one is missing."""
    given = {'--rows': options.rows, '--cols': options.cols}
    if options.styles == LIST:
        return {}
    missing = [option for option, text in given.items() if text is None]
    if missing:
        raise ConfigError(f'{" and ".join(missing)}: needed, for instance --rows=85,100 --cols=55,821 or FILE.npz')
    if options.styles is not None and (options.spectrum or options.report):
        raise ConfigError(
            f'--styles={options.styles}: --spectrum and --report exchange each layer alone; drop --styles'
        )
    return {option: parse_points(text or '', option) for option, text in given.items()}


def check_has_w(network: Network) -> None:
    """Refuses a network without a W space; names the command that works."""
    if 'w' not in network.spaces:
        raise ConfigError(f'{network.config.cfg} has no W space to mix styles in; gen_video.py --space=z interpolates')


def read_sources(
    parts: Sequence[Seeds | LatentsFile], option: str, network: Network, class_text: str | None
) -> list[Point]:
    """Returns the points of --rows or --cols.

    Args:
        parts: Seeds and files.
        option: Name of the option, for messages.
        network: The network.
        class_text: The text of --class.

    Raises:
        ConfigError: If a file does not fit, if a label is missing, or if two points have one name.
    """
    G = network.module
    has_seeds = any(isinstance(part, Seeds) for part in parts)
    label: Label | None = None
    if has_seeds or class_text is not None:
        label = parse_class(class_text, G.c_dim, network.class_names)
    points: list[Point] = []
    for part in parts:
        if isinstance(part, Seeds):
            points += [
                point._replace(name=str(seed))
                for seed, point in zip(part, points_of_seeds(part, G.z_dim, label or NO_LABEL), strict=True)
            ]
        else:
            latents = read_file(part, G, option)
            for note in notes_on([latents], network.sha256):
                print_note(note)
            points += points_of_file(part, latents, G, label, option=option)
    by_name = {point.name: point for point in points}
    if any(by_name[point.name].origin != point.origin for point in points):
        raise ConfigError(f'{option}: two files have one name, and their pictures would have, too; rename one')
    return list(by_name.values())


def draw_grid(network: Network, mixing: Mixing, options: MixingOptions) -> None:
    """Writes ROW-COL.png for every pair, and grid.png with the sources on its margins."""
    outdir = make_outdir(options.outdir)
    info = info_of(network, mixing.settings)
    text = {**info, **grid_text(mixing)}
    sources = draw_sources(network, mixing)
    pairs = pairs_of(sources, mixing)
    if not options.overwrite:
        check_names_free(outdir, PointList(Seeds(()), 0, NO_LABEL, pairs), info)
        check_free(outdir / GRID, text, overwrite=False)
    cells: list[np.ndarray] = []

    def noted() -> Iterator[Drawn]:
        for image in draw_mixtures(network, pairs, sources, mixing.settings):
            cells.append(visible(image))
            yield image

    write_pictures(noted(), outdir, info, len(pairs))
    save_grid(sources, np.stack(cells), mixing, outdir / GRID, text)


def draw_single_layers(network: Network, mixing: Mixing, options: MixingOptions) -> None:
    """Exchanges each layer alone: writes spectrum.png, one column per pair and one row per layer, and the report."""
    rows, cols = (styles_of(network, points, mixing.settings) for points in (mixing.rows, mixing.cols))
    pairs = [(row, col) for row in rows for col in cols]
    if options.spectrum and len(pairs) > MAX_PAIRS:
        raise ConfigError(f'--spectrum: shows at most {MAX_PAIRS} pairs, and these are {len(pairs)}; give fewer')
    steps = [(), *((layer.index,) for layer in mixing.layers), tuple(range(len(mixing.layers)))]
    points = [mixed(row, col, indices) for indices in steps for row, col in pairs]
    job = Job(
        points=PointList(Seeds(()), 0, NO_LABEL, points),
        columns=len(pairs),
        rows=('row image', *(layer.title for layer in mixing.layers), 'column image'),
        name='spectrum',
    )
    check_size(job, network.spec)
    drawn = draw_points(network.module, points, bits=network.spec.bits, **how(mixing.settings))
    outdir = make_outdir(options.outdir)
    info = info_of(network, mixing.settings)
    path = outdir / REPORT
    if options.report and path.exists() and not options.overwrite:
        raise ConfigError(f'{path}: exists; choose another --outdir, or add --overwrite')
    if options.spectrum:
        text = {**info, **sheet_text(job, mixing.settings.batch)}
        images = write_sheet(drawn, job, outdir / 'spectrum.png', text, overwrite=options.overwrite)
    else:
        images = collect(drawn, len(points), path)
    if options.report:
        distance = distance_for(network.spec.height, network.spec.width, network.device)
        found = measured(images, mixing.layers, len(pairs), distance)
        print_report(found, distance.name, len(pairs))
        write_report(path, found, distance.name, [f'{row.name}-{col.name}' for row, col in pairs], info)
        print(path)
