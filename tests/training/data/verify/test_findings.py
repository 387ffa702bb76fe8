"""Findings: counts beyond the listed ones, and printable names."""

from training.data.verify import findings as module
from training.data.verify.findings import Findings


def test_findings_are_counted_beyond_those_that_are_kept(monkeypatch):
    monkeypatch.setattr(module, 'MAX_LISTED', 3)
    findings = Findings()
    for i in range(5):
        findings.add('crc', f'{i}.png', 'is damaged')
    assert (findings.counts['crc'], len(findings.listed['crc']), findings.number('defect')) == (5, 3, 5)


def test_names_that_are_no_utf_8_can_be_printed():
    name = b'caf\xe9\n.png'.decode('utf-8', 'surrogateescape')
    findings = Findings()
    findings.add('flat', name, 'x')
    (finding,) = findings.listed['flat']
    assert finding.name == 'caf\\xe9\\n.png'
