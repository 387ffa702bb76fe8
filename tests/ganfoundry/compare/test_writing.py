"""Reports: hostile text stays text."""

import numpy as np
import torch

from ganfoundry.compare.plan import Plan
from ganfoundry.compare.results import Result
from ganfoundry.compare.rows import PaperNumber, Row
from ganfoundry.compare.summary import RowSummary, Summary
from ganfoundry.compare.table import escaped
from ganfoundry.compare.writing import write_summary
from metrics.trials import Trials, judge
from training.data.dataset import DataConfig, ImageDataset

EVIL = '<img src=x onerror=alert(1)>|[x](http://a)`'


def test_names_and_reasons_stay_text_and_papers_are_shown(tmp_path):
    paper = PaperNumber(metric='fid50k_full', value=4.9, source=EVIL)
    rows, trials = [], []
    for label, values in ((EVIL, (10.0, 11.0)), ('b', (30.0, 31.0))):
        results = tuple(
            Result(
                seed=seed, state='failed', reason=EVIL, curves={'fd': [(1.0, 40.0), (2.0, value)]}, ends={'fd': value}
            )
            for seed, value in enumerate(values)
        )
        trials.append(Trials(label=label, values=values))
        row = Row(label=label, cfg='auto', flags=(f'--desc={EVIL}',), paper=(paper,))
        rows.append(RowSummary(row=row, results=results, ends={'fd': (10.5, 0.7)}, best=10.0, sizes=None, seconds=60.0,
                               sec_per_kimg=1.0, memory_gb=None, diversity=0.9, standing=None))  # fmt: skip
    plan = Plan(rows=tuple(row.row for row in rows), seeds=(0, 1), kimg=2, batch=16, metrics=('fd',), command=(EVIL,))
    summary = Summary(
        plan=plan,
        dataset=ImageDataset(DataConfig()),
        rows=tuple(rows),
        verdict=judge(trials, metric='fd', lower_is_better=True),
        rungs=(),
        strips=((EVIL, torch.from_numpy(np.zeros([12, 3, 8, 8], dtype=np.uint8))), ('b', None)),
    )
    text = write_summary(summary, tmp_path)
    outside = text.split('```')[0]  # the command is in a block of code
    assert '<img' not in outside.replace('\\<img', '')
    assert 'fid50k_full 4.9' in outside
    page = (tmp_path / 'report.html').read_text()
    assert '<img src=x' not in page
    assert '&lt;img src=x' in page
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        'curves.png', 'report.html', 'report.md', 'sheet.png', 'table.json',
    ]  # fmt: skip


def test_markdown_cells_hold_any_text():
    assert escaped('a|b\n# c') == 'a\\|b \\# c'
