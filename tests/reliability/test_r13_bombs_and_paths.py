"""R13: archives that unpack to more than they should, or to somewhere else, are refused before they are unpacked."""

import io
import resource
import stat
import tarfile
import zipfile

import pytest

from dnnlib.errors import DataError, UserError
from ganfoundry.commands import dataset_tool
from tests.support.pictures import encoded
from tests.support.verify_data import picture
from training.data.dataset import DataConfig, ImageDataset

pytestmark = pytest.mark.slow

PICTURE = encoded(picture(0))
ATTACKS = {
    'ratio': ('a.png', bytes(2**24)),
    'parent': ('../a.png', PICTURE),
    'deep parent': ('x/../../a.png', PICTURE),
    'absolute': ('/a.png', PICTURE),
    'drive': ('C:/a.png', PICTURE),
    'backslash': ('..\\a.png', PICTURE),
}


def zipped(path, name, data, mode=None):
    """Writes a zip with a sound picture and an entry that is not.

    Args:
        path: The zip.
        name: Name of the entry.
        data: Contents of the entry.
        mode: Unix mode of the entry.
    """
    entry = zipfile.ZipInfo(name)
    entry.compress_type = zipfile.ZIP_DEFLATED
    if mode is not None:
        entry.external_attr = mode << 16
    with zipfile.ZipFile(path, 'w') as archive:
        archive.writestr('0.png', PICTURE)
        archive.writestr(entry, data)
    return path


@pytest.fixture(params=[*ATTACKS, 'link'])
def attack(request, tmp_path):
    """A zip in a folder of its own."""
    (tmp_path / 'in').mkdir()
    if request.param == 'link':
        return zipped(tmp_path / 'in' / 'link.zip', 'a.png', b'/etc/passwd', stat.S_IFLNK | 0o777)
    return zipped(tmp_path / 'in' / 'a.zip', *ATTACKS[request.param])


def test_training_refuses_it_by_name(attack):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(DataError) as caught:
        ImageDataset(DataConfig(path=str(attack)))
    assert str(caught.value).startswith(f'{attack}: ')
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 * 2**10  # kB


def test_the_tool_writes_nothing_but_its_destination(attack, tmp_path):
    before = set(tmp_path.rglob('*'))
    dest = tmp_path / 'out.zip'
    try:
        dataset_tool.main([f'--source={attack}', f'--dest={dest}'], standalone_mode=False)
    except (UserError, SystemExit):
        assert not dest.exists()
    assert set(tmp_path.rglob('*')) - before <= {dest}
    if dest.exists():
        with zipfile.ZipFile(dest) as archive:
            assert all(name.startswith('00000/') or name == 'dataset.json' for name in archive.namelist())


def test_a_name_in_a_tar_that_leads_out_leads_nowhere(tmp_path):
    (tmp_path / 'in').mkdir()
    source = tmp_path / 'in' / 'cifar.tar.gz'
    with tarfile.open(source, 'w:gz') as archive:
        entry = tarfile.TarInfo('../../evil.png')
        entry.size = len(PICTURE)
        archive.addfile(entry, io.BytesIO(PICTURE))
    before, dest = set(tmp_path.rglob('*')), tmp_path / 'out.zip'
    dataset_tool.main([f'--source={source}', f'--dest={dest}'], standalone_mode=False)
    assert set(tmp_path.rglob('*')) - before == {dest}
    with zipfile.ZipFile(dest) as archive:
        assert archive.namelist() == ['00000/img00000000.png', 'dataset.json']


def test_a_header_that_claims_billions_of_pixels_is_not_decoded(tmp_path):
    data = bytearray(PICTURE)
    data[16:24] = (60000).to_bytes(4, 'big') * 2
    path = zipped(tmp_path / 'a.zip', 'b.png', PICTURE)
    with zipfile.ZipFile(path, 'w') as archive:
        archive.writestr('a.png', bytes(data))
    with pytest.raises(DataError, match=r'a\.png'):
        ImageDataset(DataConfig(path=str(path)))
