"""Finding onnxruntime-web."""

from __future__ import annotations

import gzip
import hashlib
from pathlib import Path

import pytest

from dnnlib.errors import ConfigError
from ganfoundry.commands import export
from ganfoundry.export import web_runtime
from ganfoundry.export.web_runtime import SHA256, find_runtime, read_runtime

PACKED = (gzip.compress(b'module', 9, mtime=0), gzip.compress(b'wasm', 9, mtime=0))
CONTENT = {'ort.wasm.bundle.min.mjs': b'module', 'ort-wasm-simd-threaded.wasm': b'wasm'}


@pytest.fixture(autouse=True)
def small_runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pins the digests of two small files, in an empty folder without a variable."""
    digests = {name: hashlib.sha256(data).hexdigest() for name, data in CONTENT.items()}
    monkeypatch.setattr(web_runtime, 'SHA256', {'wasm': digests, 'webgpu': {'absent.mjs': ''}})
    monkeypatch.delenv('GANFOUNDRY_ORT', raising=False)
    (tmp_path / 'here' / 'below').mkdir(parents=True)
    monkeypatch.chdir(tmp_path / 'here' / 'below')


def install(folder: Path, content: dict[str, bytes] = CONTENT) -> Path:
    """Writes the files of the package to a folder, and returns it."""
    folder.mkdir(parents=True)
    for name, data in content.items():
        (folder / name).write_bytes(data)
    return folder


@pytest.mark.parametrize(
    'named', ['node_modules/onnxruntime-web/dist', 'node_modules/onnxruntime-web', 'node_modules', '.']
)
def test_ort_names_the_package_its_files_or_a_folder_above_it(tmp_path: Path, named: str) -> None:
    install(tmp_path / 'project/node_modules/onnxruntime-web/dist')
    assert read_runtime(find_runtime(str(tmp_path / 'project' / named))) == PACKED


def test_the_option_comes_before_the_variable_and_the_variable_before_node_modules(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path / 'here/node_modules/onnxruntime-web/dist')
    assert read_runtime(find_runtime(None)) == PACKED  # of the folder above
    monkeypatch.setenv('GANFOUNDRY_ORT', str(tmp_path / 'absent'))
    with pytest.raises(ConfigError, match=r'^GANFOUNDRY_ORT=.*absent: has no ort\.wasm'):
        find_runtime(None)
    assert find_runtime(str(install(tmp_path / 'own'))) == tmp_path / 'own'


def test_without_the_package_the_error_names_it_and_the_command() -> None:
    with pytest.raises(ConfigError, match=r'onnxruntime-web 1\.30\.0: run `npm install onnxruntime-web@1\.30\.0` here'):
        find_runtime(None)


def test_the_command_looks_for_it_first_and_leaves_nothing(tmp_path: Path) -> None:
    pytest.importorskip('onnxscript')
    command = ['--network=absent.safetensors', '--format=html', f'--out={tmp_path / "out"}', '--ort=nowhere']
    with pytest.raises(
        ConfigError, match=r'^--ort=\S*nowhere: has no .*; `npm install onnxruntime-web@1\.30\.0` installs'
    ):
        export.main.main(command, standalone_mode=False)
    assert not (tmp_path / 'out').exists()


def test_files_of_another_version_are_refused_with_both_digests(tmp_path: Path) -> None:
    folder = install(tmp_path / 'other', CONTENT | {'ort-wasm-simd-threaded.wasm': b'another'})
    with pytest.raises(
        ConfigError, match=r'threaded\.wasm: has the sha256 [0-9a-f]{64}, that of onnxruntime-web'
    ) as caught:
        find_runtime(str(folder))
    assert 'npm install onnxruntime-web@1.30.0' in str(caught.value)
    assert hashlib.sha256(b'another').hexdigest() in str(caught.value)


def test_a_page_for_the_gpu_needs_other_files(tmp_path: Path) -> None:
    folder = install(tmp_path / 'own')
    with pytest.raises(ConfigError, match=r'own: has no absent\.mjs'):
        find_runtime(str(folder), 'webgpu')


def test_the_pinned_files_are_those_of_the_installed_package(web_runtime: web_runtime.WebRuntime) -> None:
    assert [hashlib.sha256(gzip.decompress(part)).hexdigest() for part in web_runtime] == list(SHA256['wasm'].values())
