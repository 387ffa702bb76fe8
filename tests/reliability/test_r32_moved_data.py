"""R32: a run knows its data by their contents: they may move, and other data are not taken for them."""

import json
import shutil
import zipfile

import pytest

from dnnlib.errors import ConfigError, DataError
from tests.reliability.supervisor import train_here

pytestmark = pytest.mark.slow


@pytest.fixture
def moved(undisturbed, data, tmp_path, monkeypatch):
    """A copy of a finished run whose data were at `tmp_path/old.zip`, the data at another path, and a resume.

    The resume stops where training would begin, and returns the run.
    """
    folder = shutil.copytree(undisturbed, tmp_path / 'runs' / undisturbed.name)
    record = json.loads((folder / 'config.json').read_text())
    record['config']['data']['path'] = str(tmp_path / 'old.zip')
    (folder / 'config.json').write_text(json.dumps(record))
    begun = []
    monkeypatch.setattr('ganfoundry.trainer.run_loop', lambda run, *rest: begun.append(run) or (True, []))

    def resume(*flags):
        train_here(f'--resume={folder}', *flags)
        return begun.pop()

    return folder, shutil.copy(data, tmp_path / 'new.zip'), resume


def rewritten(path, change):
    """Writes a zip again with its entries as `change(name, data)` returns them."""
    with zipfile.ZipFile(path) as archive:
        entries = [(info.filename, archive.read(info)) for info in archive.infolist()]
    with zipfile.ZipFile(path, 'w') as archive:
        for name, data in entries:
            archive.writestr(name, change(name, data))


def test_the_message_about_absent_data_has_a_way_out_that_is_taken(moved):
    folder, new, resume = moved
    with pytest.raises(DataError, match=r'old\.zip: the images of --data are not there.*--data=NEW_PATH continues'):
        resume()
    run = resume(f'--data={new}')
    assert run.cfg.data.path == str(new)
    log = (folder / 'log.txt').read_text()
    assert f'--data={new}: the same images as {new.with_name("old.zip")}, where the run began with them' in log
    assert run.again == (f'--data={new}',)  # the printed command names them, too


@pytest.mark.parametrize('where', ['moved', 'in place'])
@pytest.mark.parametrize('what', ['labels', 'name', 'pixels'])
def test_other_data_are_refused_and_taken_where_the_user_insists(moved, where, what):
    folder, new, resume = moved

    def change(name, data):
        is_labels = name == 'dataset.json'
        if what == 'labels' and is_labels:
            labels = json.loads(data)['labels']
            return json.dumps({'labels': [*labels[:-1], [labels[-1][0], 1 - labels[-1][1] % 2]]})
        if what == 'pixels' and name[-6] in '234':
            return data[:-20] + data[-12:]  # a damaged image: the index alone shows that it is another
        return data

    rewritten(new, change)
    if what == 'name':
        rewritten_names(new)
    flags = (f'--data={new}',) if where == 'moved' else ()
    if where == 'in place':
        new = new.rename(new.with_name('old.zip'))
    with pytest.raises(ConfigError, match='differ from those that this run began with; --set data_check=off'):
        resume(*flags)
    run = resume(*flags, '--set=data_check=off')
    assert 'the run continues with them, since data_check is off' in (folder / 'log.txt').read_text()
    assert '--set=data_check=off' in run.again


def test_a_repaired_image_is_reported_and_taken(moved):
    folder, new, resume = moved
    rewritten(new, lambda name, data: data + b' ' if name.endswith('07.png') else data)
    with pytest.raises(ConfigError, match='differ from those'):
        resume(f'--data={new}')
    new.rename(new.with_name('old.zip'))
    resume()
    assert 'a few images have been replaced or repaired since the run began' in (folder / 'log.txt').read_text()


def rewritten_names(path):
    """Renames one image, which changes the order of all."""
    with zipfile.ZipFile(path) as archive:
        entries = [(info.filename, archive.read(info)) for info in archive.infolist()]
    old = entries[0][0]
    with zipfile.ZipFile(path, 'w') as archive:
        for name, data in entries:
            if name == 'dataset.json':
                data = data.replace(old.encode(), old.replace('img', 'zzz').encode())
            archive.writestr(name.replace('img', 'zzz') if name == old else name, data)


def test_a_run_of_a_version_without_digests_says_so(moved):
    folder, new, resume = moved
    record = json.loads((folder / 'config.json').read_text())
    del record['data']
    (folder / 'config.json').write_text(json.dumps(record))
    with pytest.raises(ConfigError, match=r'config\.json is of a version without digests; --set data_check=off'):
        resume(f'--data={new}')
    assert resume(f'--data={new}', '--set=data_check=off').cfg.data.path == str(new)
    shutil.move(new, new.with_name('old.zip'))
    resume()


def test_metric_data_that_have_moved_are_named_and_taken(moved):
    folder, new, resume = moved
    record = json.loads((folder / 'config.json').read_text())
    shutil.copy(new, new.with_name('old.zip'))
    record['config']['metric_data'] = str(new.with_name('reals.zip'))
    record['metric_data'] = record['data']
    (folder / 'config.json').write_text(json.dumps(record))
    with pytest.raises(DataError, match=r'reals\.zip: the images of --metric-data are not there.*--metric-data=NEW'):
        resume()
    run = resume(f'--metric-data={new}')
    assert run.again == (f'--metric-data={new}',)
    assert 'metrics begin a new curve' not in (folder / 'log.txt').read_text()
    rewritten(new, lambda name, data: data + b' ')
    resume(f'--metric-data={new}')
    assert 'other images than before; metrics begin a new curve' in (folder / 'log.txt').read_text()
