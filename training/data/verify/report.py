"""Reports of a verified data set: text, JSON, and one self-contained HTML page.

File names come from the maker of the data set: they are printable by now, and HTML-escaped here. The page allows no
script and loads nothing.
"""

from __future__ import annotations

import html
import json
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dnnlib.files import write_bytes
from dnnlib.printable import printable
from training.data.names import encode_names
from training.data.shapes import nearest_size
from training.data.verify.findings import KINDS, Finding
from training.data.verify.sheet import contact_sheet, data_uri, preview, to_png
from training.data.verify.similar import Group
from training.data.verify.survey import VerifyReport, kind_of

TEXT_LINES = 10  # findings per kind on the terminal
HTML_LINES = 200  # findings per kind on the page

_THUMBNAILS = 24  # per kind
_GROUPS, _MEMBERS = 50, 8  # groups of duplicates on the page, and images per group
_BARS = 256  # classes on the page
_SIDE = 64  # side of a thumbnail in pixels

_STYLE = """
body { font: 15px/1.4 sans-serif; margin: 2em auto; max-width: 75em; padding: 0 1em; color: #222 }
table { border-collapse: collapse } td, th { padding: .2em .8em .2em 0; text-align: left; vertical-align: top }
td { overflow-wrap: anywhere } .count { text-align: right } .bar { background: #48c; height: 1em; min-width: 1px }
.scale { width: 30em } .defect { color: #b00 } .warning { color: #950 } .note { color: #555 }
figure { display: inline-block; margin: .3em; font-size: 80%; max-width: 12em; overflow-wrap: anywhere }
.sheet { max-width: 100% } .pair { white-space: nowrap }
"""


def write_report(report: VerifyReport, folder: Path, columns: int, rows: int) -> None:
    """Writes report.html, report.json and, if an image can be decoded, contact-sheet.png, each atomically.

    Args:
        report: Result of the check.
        folder: Existing folder for the files.
        columns: Columns of the contact sheet.
        rows: Rows of the contact sheet.
    """
    sheet = contact_sheet(report, columns, rows)
    if sheet is not None:
        write_bytes(folder / 'contact-sheet.png', to_png(sheet))
    write_bytes(folder / 'report.json', (json.dumps(to_json(report), indent=1) + '\n').encode())
    write_bytes(folder / 'report.html', to_html(report, None if sheet is None else data_uri(sheet)).encode())
    if report.source is not None:
        report.source.close()


def to_text(report: VerifyReport) -> str:
    """Returns the lines for the terminal: the facts, then each kind with its first files and the way out."""
    lines = [f'{printable(report.path)}: {"; ".join(f"{name} {value}" for name, value in facts(report))}']
    lines += passed_over(report)
    for kind in report.findings.kinds():
        about, listed = KINDS[kind], report.findings.listed[kind]
        count = report.findings.counts[kind]
        lines.append(f'{about.severity}: {about.title} ({count:,}). Way out: {_remedy(report, kind)}')
        lines += [f'    {finding.name}: {_sentence(report, finding)}' for finding in listed[:TEXT_LINES]]
        if count > TEXT_LINES:
            lines.append(f'    and {count - TEXT_LINES:,} more')
    return '\n'.join([*lines, verdict(report)])


def verdict(report: VerifyReport) -> str:
    """Returns the numbers of defects and warnings as one line."""
    defects, warnings = (report.findings.number(severity) for severity in ('defect', 'warning'))
    return f'{"no defects" if not defects else f"defects: {defects:,}"}, warnings: {warnings:,}'


def passed_over(report: VerifyReport) -> list[str]:
    """Returns the line about files that are not used, as training and conversion print it; empty without any."""
    line = '' if report.source is None else report.source.passed_over.line()
    return [printable(line)] if line else []


def facts(report: VerifyReport) -> list[tuple[str, str]]:
    """Returns the facts about the data set as pairs (name, value)."""
    looked = len(report.positions)
    some = '' if looked == report.num_files else f', {looked:,} of them checked'
    pairs = [('images', f'{report.num_files:,}{some}')]
    if report.sizes:
        sizes = [f'{w}x{h} ({n:,})' for (h, w), n in report.sizes.most_common(3)]
        pairs.append(('sizes', ', '.join(sizes) + (', ...' if len(report.sizes) > 3 else '')))
    if report.forms:
        forms = [f'{kind_of(c, bits)} ({n:,})' for (c, bits), n in report.forms.most_common(3)]
        pairs.append(('form', ', '.join(forms) + (', ...' if len(report.forms) > 3 else '')))
    labels, filled = report.labels, [count for count in report.labels.counts.values() if count]
    if filled:
        counts = f'{min(filled):,}' + (f' to {max(filled):,}' if max(filled) > min(filled) else '')
        pairs.append(('labels', f'{len(filled):,} classes of {counts} images'))
    else:
        pairs.append(('labels', f'vectors of {labels.width} numbers' if labels.kind == 'vectors' else 'none'))
    return pairs


def to_json(report: VerifyReport) -> dict[str, Any]:
    """Returns the whole report for JSON. It counts all findings and lists the first `findings.MAX_LISTED` per kind."""
    findings, labels = report.findings, report.labels
    return {
        'version': 1,
        'data': printable(report.path),
        'defects': findings.number('defect'),
        'warnings': findings.number('warning'),
        'images': {
            'files': report.num_files,
            'looked_at': len(report.positions),
            'decoded': int(report.decoded.sum()),
        },
        'sizes': [{'width': w, 'height': h, 'images': n} for (h, w), n in report.sizes.most_common()],
        'forms': [{'channels': c, 'bits': bits, 'images': n} for (c, bits), n in report.forms.most_common()],
        'findings': {
            kind: {
                'severity': KINDS[kind].severity,
                'title': KINDS[kind].title,
                'remedy': _remedy(report, kind),
                'count': findings.counts[kind],
                'files': [
                    {'file': finding.name, 'message': _sentence(report, finding)} for finding in findings.listed[kind]
                ],
            }
            for kind in findings.kinds()
        },
        'labels': {
            'kind': labels.kind,
            'width': labels.width,
            'classes': [{'class': k, 'name': labels.names.get(k), 'images': n} for k, n in labels.counts.items()],
        },
        'duplicates': [{'kind': group.kind, 'files': list(_names(report, group))} for group in report.groups],
        'passed_over': passed_over(report),
        'statistics': {'mean': report.mean, 'std': report.std, 'brightness': report.brightness},
    }


def to_html(report: VerifyReport, sheet: str | None) -> str:
    """Returns the HTML page, with the contact sheet as a data URI."""
    title = f'Verified: {html.escape(printable(report.path))}'
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    head = [
        '<!DOCTYPE html>',
        f'<html lang="en"><head><meta charset="utf-8"><title>{title}</title>',
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
        f'<style>{_STYLE}</style></head><body><h1>{title}</h1>',
        f'<p><strong>{verdict(report)}</strong></p>',
    ]
    parts = [
        *_table(facts(report)),
        *(f'<p>{html.escape(line)}</p>' for line in passed_over(report)),
        *_findings(report),
        *_groups(report),
        *_classes(report),
        *_statistics(report),
    ]
    if sheet is not None:
        parts += ['<h2>Contact sheet</h2>', f'<img class="sheet" alt="a sample of the images" src="{sheet}">']
    return '\n'.join([*head, *parts, '</body></html>', ''])


def _remedy(report: VerifyReport, kind: str) -> str:
    """Returns the remedy for a kind, with the name and size of the data set in its command."""
    remedy = KINDS[kind].remedy
    if report.sizes:
        (size, _), *_ = report.sizes.most_common(1)
        height, width = nearest_size(*size)
        remedy = remedy.replace('WxH', f'{width}x{height}')
    return remedy.replace('DATA', printable(shlex.quote(report.path)))


def _sentence(report: VerifyReport, finding: Finding) -> str:
    """Returns the message of a finding, with the pictures of which two compared images were made, if they are known."""
    source = report.source
    own, other = _position(report, finding.name), _position(report, finding.other)
    if source is None or own is None or other is None or source.origin(own) == source.name(own):
        return finding.message
    return f'{finding.message} (made of {printable(source.origin(own))} and {printable(source.origin(other))})'


def _findings(report: VerifyReport) -> Iterator[str]:
    """Yields one section per kind of finding."""
    for kind in report.findings.kinds():
        about, count = KINDS[kind], report.findings.counts[kind]
        yield f'<h2 class="{about.severity}">{about.title}: {count:,} ({about.severity})</h2>'
        yield f'<p>Way out: {html.escape(_remedy(report, kind))}</p>'
        yield '<table><tr><th></th><th>File</th><th>What</th></tr>'
        for number, finding in enumerate(report.findings.listed[kind][:HTML_LINES]):
            pair = [name for name in (finding.name, finding.other) if name and number < _THUMBNAILS]
            shown = ' '.join(_thumbnail(report, name) for name in pair)  # side by side
            sentence = html.escape(_sentence(report, finding))
            cells = f'<td class="pair">{shown}</td><td>{html.escape(finding.name)}</td><td>{sentence}</td>'
            yield f'<tr>{cells}</tr>'
        yield '</table>'
        if count > HTML_LINES:
            yield f'<p>and {count - HTML_LINES:,} more; report.json lists them</p>'


def _groups(report: VerifyReport) -> Iterator[str]:
    """Yields the largest groups of duplicates of each kind, as pictures."""
    for kind in dict.fromkeys(group.kind for group in report.groups):
        groups = [group for group in report.groups if group.kind == kind]
        yield f'<h2>Groups: {KINDS[kind].title} ({len(groups):,})</h2>'
        for group in groups[:_GROUPS]:
            names = list(_names(report, group))
            yield f'<div>{len(names):,} images: '
            for name in names[:_MEMBERS]:
                yield f'<figure>{_thumbnail(report, name)}<figcaption>{html.escape(name)}</figcaption></figure>'
            yield '</div>'
        if len(groups) > _GROUPS:
            yield f'<p>and {len(groups) - _GROUPS:,} smaller groups; report.json lists them</p>'


def _classes(report: VerifyReport) -> Iterator[str]:
    """Yields one bar per class."""
    counts = report.labels.counts
    if not counts:
        return
    yield '<h2>Classes</h2>'
    yield from _bars([(report.labels.title(number), counts[number]) for number in list(counts)[:_BARS]])
    if len(counts) > _BARS:
        yield f'<p>and {len(counts) - _BARS:,} more; report.json lists them</p>'


def _statistics(report: VerifyReport) -> Iterator[str]:
    """Yields mean and standard deviation of each channel, and the distribution of brightness."""
    if not report.mean:
        return
    yield '<h2>Channels, in [0, 1]</h2>'
    pairs = zip(report.mean, report.std, strict=True)
    yield from _table([(str(c), f'mean {mean:.4f}, std {std:.4f}') for c, (mean, std) in enumerate(pairs)])
    yield '<h2>Brightness of images</h2>'
    bins = len(report.brightness)
    yield from _bars([(f'{k / bins:.2f} to {(k + 1) / bins:.2f}', n) for k, n in enumerate(report.brightness)])


def _bars(pairs: list[tuple[str, int]]) -> Iterator[str]:
    """Yields a bar chart of (name, count)."""
    largest = max(max(count for _, count in pairs), 1)
    yield '<table>'
    for name, count in pairs:
        bar = f'<div class="bar" style="width: {100 * count / largest:.1f}%"></div>'
        yield f'<tr><td>{html.escape(name)}</td><td class="count">{count:,}</td><td class="scale">{bar}</td></tr>'
    yield '</table>'


def _table(pairs: list[tuple[str, str]]) -> Iterator[str]:
    """Yields a table of (name, value)."""
    yield '<table>'
    for name, value in pairs:
        yield f'<tr><th>{html.escape(name)}</th><td>{html.escape(value)}</td></tr>'
    yield '</table>'


def _names(report: VerifyReport, group: Group) -> Iterator[str]:
    """Returns the printable paths of the images of a group."""
    assert report.source is not None
    return (printable(report.source.name(position)) for position in group.positions)


def _position(report: VerifyReport, name: str) -> int | None:
    """Returns the position of an image in the source, or None if a name is not that of an image."""
    if report.source is None or len(report.source) == 0:
        return None
    key = encode_names([name])[0]
    position = int(report.source.names.searchsorted(key))
    return position if position < len(report.source) and report.source.names[position] == key else None


def _thumbnail(report: VerifyReport, name: str) -> str:
    """Returns the <img> of a file, or '' if it is not an image of the data set or cannot be decoded."""
    position = _position(report, name)
    if report.source is None or position is None:
        return ''
    image = preview(report.source, position, _SIDE)
    return '' if image is None else f'<img alt="" src="{data_uri(image)}">'
