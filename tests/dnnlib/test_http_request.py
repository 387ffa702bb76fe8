"""Tests of redirects and of failures in words; test_download.py tests requests against a server."""

import socket
import ssl

import pytest
import requests
import urllib3

from dnnlib.errors import DownloadError
from dnnlib.http_request import Timeouts, _redirected, _words

SECRET = 'https://me:PW9@host/a?sig=PW9'


@pytest.mark.parametrize(
    ('target', 'leads_to'),
    [
        ('/b', 'https://me:PW9@host/b'),
        ('https://host/b', 'https://me:PW9@host/b'),
        ('https://other/b', 'https://other/b'),
        ('https://host:444/b', 'https://host:444/b'),
        ('https://you:x@host/b', 'https://you:x@host/b'),
        ('//other/b?signed=1', 'https://other/b?signed=1'),
    ],
)
def test_a_password_follows_a_redirect_to_the_same_server_only(target, leads_to):
    with requests.Session() as session:
        assert _redirected(session, SECRET, target) == leads_to


@pytest.mark.parametrize(
    ('target', 'said'),
    [
        ('http://host/b', 'redirected from https to http'),
        ('ftp://host/b', 'redirected to ftp:'),
        ('file:///etc/passwd', 'redirected to file:'),
        ('javascript:alert(1)', 'redirected to javascript:'),
        ('https://[::bad/b', 'redirected to an unusable address'),
    ],
)
def test_a_redirect_out_of_https_is_refused_without_the_password(target, said):
    with requests.Session() as session, pytest.raises(DownloadError) as caught:
        _redirected(session, SECRET, target)
    assert said in str(caught.value)
    assert 'PW9' not in str(caught.value)


def certificate_error() -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError(1, 'certificate verify failed')
    error.verify_message = 'certificate has expired'
    return error


@pytest.mark.parametrize(
    ('cause', 'said'),
    [
        (socket.gaierror(-2, 'Name or service not known'), 'no connection (Name or service not known)'),
        (ConnectionRefusedError(111, 'Connection refused'), 'no connection (Connection refused)'),
        (certificate_error(), 'no connection (certificate has expired)'),
        (None, 'the connection failed (ConnectionError)'),
    ],
)
def test_the_reason_is_that_of_the_system_and_the_address_is_not_quoted(cause, said):
    inner = urllib3.exceptions.MaxRetryError(None, SECRET, cause)
    assert _words(requests.ConnectionError(inner), Timeouts()) == said


def test_time_limits_are_named():
    assert _words(requests.ConnectTimeout(SECRET), Timeouts(connect_s=3)) == 'no connection within 3 s'
    assert _words(requests.ReadTimeout(SECRET), Timeouts(read_s=7)) == 'the server was silent for 7 s'
