"""Plan files of the papers' tables: each has the rows of its table, with the paper's numbers, and passes --dry-run."""

from __future__ import annotations

import tomllib
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner

from ganfoundry.commands.compare import main
from tests.conftest import ROOT
from tests.support.runs import make_zip

PLANS = ROOT / 'plans'
# Rows of each table that belong to this project; quoted rows of other methods are named in the file's comment.
ROWS = {
    'squeeze_table2': 5, 'squeeze_table3': 6, 'squeeze_table4': 4, 'squeeze_table5': 4, 'squeeze_table6': 3,
    'squeeze_table7': 4,
    'gconv_table3_cifar10': 5, 'gconv_table3_cifar100': 5, 'gconv_table3_cifar10_labels': 5,
    'gconv_table3_cifar100_labels': 5, 'gconv_table4': 4, 'gconv_table5': 4, 'gconv_table6_church': 2,
    'gconv_table6_celeba': 2, 'gconv_table6_tinyimagenet': 2, 'gconv_table7': 2,
    'ifgan_table2_128': 3, 'ifgan_table2_256': 3, 'ifgan_table3': 2, 'ifgan_table4': 1,
    'giu_table1': 6, 'giu_table3': 5, 'giu_table4': 5, 'giu_table5': 6, 'giu_table6': 7, 'giu_table7': 3,
    'giu_table8': 2,
    'igan_cub': 1, 'igan_imagenet': 1,
}  # fmt: skip
# Tables whose subject is augmentation.
AUGMENTATIONS = {'squeeze_table2', 'squeeze_table4'}


def content(name: str) -> dict:
    return tomllib.loads((PLANS / f'{name}.toml').read_text())


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    """Returns a function from a size to a labeled data set, which is made once."""
    folder = tmp_path_factory.mktemp('data')
    made: dict[int, Path] = {}

    def path(size: int) -> Path:
        if size not in made:
            made[size] = make_zip(folder / f'{size}.zip', num_images=6, resolution=size)
        return made[size]

    return path


def test_every_plan_of_a_paper_is_listed_here() -> None:
    papers = ('squeeze_', 'gconv_', 'ifgan_', 'giu_', 'igan_')
    assert {path.stem for path in PLANS.glob('*.toml') if path.stem.startswith(papers)} == set(ROWS)


@pytest.mark.parametrize('name', ROWS)
def test_a_plan_has_the_rows_of_its_table_and_passes_a_dry_run(name: str, data, tmp_path, monkeypatch) -> None:
    plan = content(name)
    assert len(plan['rows']) == ROWS[name]
    assert all(row['paper'] for row in plan['rows'].values())
    stem = plan['data'].removesuffix('.zip')
    size = next(size for size in (256, 128, 64, 32) if stem.endswith(str(size)))
    monkeypatch.setattr('metrics.detectors.lpips.LpipsAlex.available', classmethod(lambda cls: True))
    configs = []

    def try_steps(cfg, *args):
        """Notes the config of a row; steps at the papers' widths would take hours."""
        configs.append(cfg)
        return SimpleNamespace(sec_per_kimg=1.0)

    monkeypatch.setattr('ganfoundry.compare.dry_run.try_steps', try_steps)
    flags = [f'--plan={PLANS / name}.toml', f'--data={data(size)}', f'--out={tmp_path / "out"}', '--dry-run']
    result = CliRunner().invoke(main, flags, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert 'refuses its flags' not in result.output
    assert all(f'--cfg={row.get("cfg", label)}' in result.output for label, row in plan['rows'].items())
    assert not (tmp_path / 'out').exists()
    assert len(configs) == ROWS[name]
    assert len({(cfg.batch, cfg.kimg) for cfg in configs}) == 1
    if name not in AUGMENTATIONS:
        assert len({cfg.aug.kind for cfg in configs}) == 1
