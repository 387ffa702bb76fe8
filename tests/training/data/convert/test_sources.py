"""Detection of the kind of a source by its path."""

from tests.support.pictures import fill, noise, run, source_refusal


def test_an_unknown_kind_is_told_what_is_read(tmp_path):
    (tmp_path / 'a.rar').write_bytes(b'x')
    message = source_refusal(tmp_path / 'a.rar')
    for kind in ('.zip', '.tar(.gz)', '_lmdb', 'cifar-10-python.tar.gz', 'idx3-ubyte', '.csv'):
        assert kind in message
    assert source_refusal(tmp_path / 'none').endswith(f'{tmp_path}/none: no such file or folder')


def test_split_is_for_cifar_alone(tmp_path):
    source = fill(tmp_path / 'in', {'0.png': noise(0)})
    result = run('--source', source, '--dest', tmp_path / 'a.zip', '--split=test', code=2)
    assert '--split=test: only CIFAR archives hold' in result.stderr
