"""The command `report.py`: one page of one or more runs, as a file or served live."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dnnlib.errors import ConfigError, FileError
from dnnlib.files import write_bytes
from dnnlib.log import format_bytes
from dnnlib.regular_file import open_regular
from ganfoundry.report.embedding import data_uri
from ganfoundry.report.page import page_html
from ganfoundry.report.run_charts import tick_charts
from ganfoundry.report.run_reading import RunReading
from ganfoundry.report.run_sections import CROPPED, all_sections, lead_of, title_of
from ganfoundry.report.run_sheets import EncodedSheet, encode_all, encode_sheet, image_size, run_entry, sheet_entry
from ganfoundry.serving import ServingOptions
from training.data.progress import progress
from training.run.open_network import with_latest

MADE_HERE = b'<meta name="generator" content="ganfoundry'  # within the first bytes of every page


@dataclass(frozen=True, kw_only=True, slots=True)
class ReportOptions:
    """Options of report.py.

    Attributes:
        runs: Run folders, `latest` or `OUTDIR/latest`.
        out: File to write.
        full: Sheets in their own size.
        watch: Serve the page instead of writing it.
        host: Address to serve at.
        port: Port to serve at; None for 8080 or the next free one.
        allow_remote: Serve to other machines, too.
    """

    runs: tuple[str, ...]
    out: str
    full: bool = False
    watch: bool = False
    host: str = '127.0.0.1'
    port: int | None = None
    allow_remote: bool = False


def run_report(options: ReportOptions) -> None:
    """Carries out a command line of report.py."""
    paths = find_runs(options.runs)
    if options.watch:
        from ganfoundry.report.live import serve_live

        serving = ServingOptions(host=options.host, port=options.port, allow_remote=options.allow_remote)
        serve_live(open_runs(paths), serving, full=options.full)
        return
    out = Path(options.out)
    check_out(out, paths)
    runs = open_runs(paths)
    with progress('sheets') as advance:
        sheets = encode_all(runs, full=options.full, advance=advance)
    html = report_html(runs, sheets).encode()
    try:
        write_bytes(out, html)
    except OSError as error:
        raise ConfigError(f'--out={out}: cannot be written ({error.strerror}); name another file') from None
    print(f'{out}: {format_bytes(len(html))}. {lead_of(runs)}')


def find_runs(words: Sequence[str]) -> list[Path]:
    """Returns the run folders that a command line names.

    Raises:
        ConfigError: If there is none, if one of them is no folder, or if one is named twice.
    """
    if not words:
        raise ConfigError('RUN is missing: name a run folder, for instance runs/latest')
    paths: list[Path] = []
    for word in words:
        path = Path(with_latest(word))
        if not path.is_dir():
            what = 'is a file' if path.exists() else 'no such folder'
            raise ConfigError(f'{path}: {what}; name the folder of a run, for instance runs/latest')
        if any(path.resolve() == other.resolve() for other in paths):
            raise ConfigError(f'{path}: is named twice')
        paths.append(path)
    return paths


def check_out(out: Path, runs: Sequence[Path]) -> None:
    """Raises ConfigError unless a page can be written to a file: outside the runs, and over no file of another kind."""
    if not out.parent.is_dir():
        raise ConfigError(f'--out={out}: there is no folder {out.parent}')
    if out.is_dir():
        raise ConfigError(f'--out={out}: is a folder; name a file')
    for run in runs:
        if out.resolve().is_relative_to(run.resolve()):
            raise ConfigError(f'--out={out}: lies in the run folder, into which nothing is written; name another place')
    if out.exists() and not is_page(out):
        raise ConfigError(f'--out={out}: exists and is no page of report.py; name another file')


def is_page(path: Path) -> bool:
    """Whether a file is a page of this package."""
    try:
        with open_regular(path) as file:
            return MADE_HERE in file.read(4096)
    except (FileError, OSError):
        return False


def open_runs(paths: Sequence[Path]) -> list[RunReading]:
    """Returns the runs, read once, with the shortest names that differ."""
    names = [path.resolve().name for path in paths]
    if len(set(names)) < len(names):
        names = ['/'.join(path.resolve().parts[-2:]) for path in paths]
    if len(set(names)) < len(names):
        names = [str(path) for path in paths]
    runs = [RunReading(path, name) for path, name in zip(paths, names, strict=True)]
    for run in runs:
        run.update()
    return runs


def report_html(runs: Sequence[RunReading], sheets: Sequence[dict[int, EncodedSheet]]) -> str:
    """Returns the page of runs, with the sheets within it.

    Args:
        runs: The runs.
        sheets: Sheets of each run by nimg.
    """
    entries: list[dict[str, Any]] = []
    for run, encoded in zip(runs, sheets, strict=True):
        cells = next((sheet.cells for sheet in encoded.values()), None)
        reals = encode_sheet(run.folder.path / 'reals.png', image_size(run.record)) if encoded else None
        shown = [sheet_entry(run, nimg, data_uri(sheet.data)) for nimg, sheet in encoded.items()]
        entries.append(run_entry(run, cells, shown, data_uri(reals.data) if reals else ''))
    cropped = any(sheet.is_cropped for encoded in sheets for sheet in encoded.values())
    sections = all_sections(runs, tick_charts(runs), CROPPED if cropped else '')
    return page_html(title_of(runs), sections, lead=lead_of(runs), data={'sheets': entries})
