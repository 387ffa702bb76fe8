"""A web server of one file, which behaves as each request of a plan says."""

from __future__ import annotations

import contextlib
import hashlib
import time
from http.server import BaseHTTPRequestHandler

DATA = bytes(range(256)) * 4096  # 1 MiB, which arrives in many chunks
SHA256 = hashlib.sha256(DATA).hexdigest()
HTML = b'<!DOCTYPE html><html><body>Please log in</body></html>'


class Handler(BaseHTTPRequestHandler):
    """Answers as the next word of `server.plan` says, and correctly after the last one."""

    def do_GET(self):
        server = self.server
        server.seen.append(self.headers.get('Range'))
        getattr(self, server.plan.pop(0) if server.plan else 'whole')()

    def answer(self, body, length=None, status=200, **headers):
        self.send_response(status)
        headers = {'Content-Type': 'application/octet-stream', 'ETag': self.server.etag} | headers
        if length != 0:
            headers['Content-Length'] = str(length or len(body))
        for name, value in headers.items():
            if value is not None:
                self.send_header(name.replace('_', '-'), value)
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()

    def part(self, share):
        """Sends the requested rest or the whole file; of that only the first share, although all is announced."""
        data, begun, headers, status = self.server.data, 0, {}, 200
        if 'Range' in self.headers and self.headers['If-Range'] == self.server.etag:
            begun = int(self.headers['Range'].removeprefix('bytes=').removesuffix('-'))
            status, headers = 206, {'Content_Range': f'bytes {begun}-{len(data) - 1}/{len(data)}'}
        rest = data[begun:]
        self.answer(rest[: int(share * len(rest))], length=len(rest), status=status, **headers)

    def whole(self):
        self.part(1)

    def cut(self):
        self.part(0.5)

    def stall(self):
        self.part(0.5)
        time.sleep(1)

    def slow(self):
        self.part(0.5)
        time.sleep(0.5)
        self.wfile.write(self.server.data[len(self.server.data) // 2 :])

    def fail(self):
        self.answer(b'', status=500)

    def gone(self):
        self.answer(b'', status=404)

    def html(self):
        self.answer(HTML, Content_Type='text/html; charset=utf-8')

    def html_in_disguise(self):
        self.answer(b'\n' + HTML)

    def too_short(self):
        self.answer(self.server.data, length=1000)

    def no_length(self):
        self.answer(self.server.data, length=0)

    def chunked(self, end=b'0\r\n\r\n'):
        data = self.server.data
        self.answer(b'%x\r\n%s\r\n%s' % (len(data), data, end), length=0, Transfer_Encoding='chunked', ETag=None)

    def chunked_cut(self):
        self.chunked(end=b'')

    def no_version(self):
        self.answer(self.server.data[:1000], length=len(self.server.data), ETag=None)

    def damaged(self):
        self.answer(self.server.data[:-1] + b'!')

    def wrong_part(self):
        self.answer(b'x' * 10, status=206, Content_Range=f'bytes 7-16/{len(self.server.data)}')

    def elsewhere(self):
        self.answer(b'', status=302, Location=self.server.elsewhere)

    def packed(self):
        self.answer(self.server.data, Content_Encoding='gzip')

    def rest(self, etag='"v1"', total=None, body=b'B'):
        """Sends what a server with another version might send for the rest of a file."""
        begun = int((self.headers['Range'] or 'bytes=0-').removeprefix('bytes=').removesuffix('-'))
        total = total or len(self.server.data)
        headers = {'ETag': etag, 'Content_Range': f'bytes {begun}-{total - 1}/{total}'}
        self.answer(body * (total - begun), status=206, **headers)

    def not_satisfiable(self):
        self.answer(b'', status=416)

    def rest_of_another_version(self):
        self.rest(etag='"v2"')

    def rest_without_a_version(self):
        self.rest(etag=None)

    def rest_of_another_size(self):
        self.rest(total=len(self.server.data) + 1)

    def beyond(self):
        """Sends more than the size of the whole file; its end is marked by a chunk, so that no length stops it."""
        begun = int((self.headers['Range'] or 'bytes=0-').removeprefix('bytes=').removesuffix('-'))
        total = len(self.server.data)
        self.answer(b'', length=0, status=206 if begun else 200, Transfer_Encoding='chunked',
                    Content_Range=f'bytes {begun}-{total - 1}/{total}')  # fmt: skip
        with contextlib.suppress(OSError):
            for _ in range(64):
                self.wfile.write(b'%x\r\n%s\r\n' % (1 << 16, b'x' * (1 << 16)))
            self.wfile.write(b'0\r\n\r\n')

    def drip(self):
        self.answer(b'', length=len(self.server.data))
        self.drip_until_closed(b'x')

    def drip_of_headers(self):
        self.wfile.write(b'HTTP/1.0 200 OK\r\nX-Long: ')
        self.drip_until_closed(b'x')

    def drip_until_closed(self, piece):
        with contextlib.suppress(OSError):
            for _ in range(80):
                self.wfile.write(piece)
                self.wfile.flush()
                time.sleep(0.05)

    def redirect_with_a_body(self):
        self.send_response(302)
        self.send_header('Location', '/there')
        self.end_headers()
        with contextlib.suppress(OSError):
            for _ in range(64):
                self.wfile.write(bytes(1 << 20))
                self.server.sent += 1 << 20

    def loop(self):
        self.server.plan.append('loop')
        self.answer(b'', status=302, Location='/again')

    def huge_length(self):
        self.answer(b'', length='9' * 5000)

    def odd_headers(self):
        self.send_response(200, '\x1b[31m' * 99)
        self.send_header('ETag', '"\x1b]0;title\x07"')
        self.send_header('Content-Length', str(len(self.server.data)))
        self.end_headers()
        self.wfile.write(self.server.data)

    def log_message(self, *args):
        pass
