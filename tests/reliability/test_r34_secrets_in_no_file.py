"""R34: user, password, query and fragment of an address reach no file and no message of a run that starts from it."""

import contextlib
import functools
import http.server
import json
import threading

import pytest

pytestmark = pytest.mark.slow


class Files(http.server.SimpleHTTPRequestHandler):
    """The files of a folder, without a word."""

    def log_message(self, *args):
        pass


@contextlib.contextmanager
def serving(folder):
    """Yields the port of a server of a folder's files."""
    with http.server.ThreadingHTTPServer(('127.0.0.1', 0), functools.partial(Files, directory=folder)) as server:
        thread = threading.Thread(target=server.serve_forever, args=[0.05])
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def test_a_run_that_starts_from_a_signed_address_keeps_no_secret(zygote, run, undisturbed, tmp_path):
    name = max(undisturbed.glob('network-snapshot-*.safetensors')).name
    struck, cache, output = run(), tmp_path / 'cache', tmp_path / 'output.txt'
    # HOME's cache of operations stays; only downloads move.
    places = {'DNNLIB_CACHE_DIR': str(cache), 'GANFOUNDRY_CACHE': '', 'RELIABILITY_PLAN': str(struck.plan)}
    with serving(undisturbed) as port:
        for url in (f'http://me:a@SECRET@127.0.0.1:{port}/{name}?X-Amz-Signature=SECRET#SECRET',):
            flags = [*struck.flags, f'--resume={url}', '--kimg=1']
            launch = zygote.start('tests.reliability.supervisor:train', *flags, output=output, env=places)
            assert launch.wait() == 0, launch.said()
    written = [path for folder in (struck.outdir, cache) for path in folder.rglob('*') if path.is_file()]
    assert name in {path.name for path in written}  # the download is among what is searched
    assert [path for path in (*written, output) if b'SECRET' in path.read_bytes() or 'SECRET' in path.name] == []
    record = json.loads((struck.folder / 'config.json').read_text())
    assert f'--resume=http://127.0.0.1:{port}/{name}' in record['argv']
