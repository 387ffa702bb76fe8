"""Lines of log.txt: warnings with their moment and advice, endings, the options of the next launch."""

from __future__ import annotations

from ganfoundry.report.run_log import RunLog, after_resume
from training.optimize.diversity import Diversity
from training.optimize.guardian import Guardian, GuardianConfig


def read(*lines: str) -> RunLog:
    """Returns the contents of a log."""
    log = RunLog()
    log.add(f'{line}\n'.encode() for line in lines)
    return log


def test_every_message_of_the_guardian_is_known_and_has_advice():
    guardian = Guardian(GuardianConfig(ticks=1, rises=2), adapts=True, boundary=0)
    texts = guardian.tick(0.99, at_cap=True)
    for nimg in range(3):
        found = guardian.samples(Diversity(mean=0.1, least=0.0), nimg)
        texts += [f'{text}; begin a new run' for text in found]  # training/run/recovery.py adds the advice
    texts += guardian.metric([3.0, 4.0, 5.0], lower_is_better=True)
    assert len(texts) == 4
    log = read(*(f'WARNING: {text}' for text in texts))
    assert [(warning.is_guardians, warning.advice != '') for warning in log.warnings] == [(True, True)] * 4
    assert [f'{warning.symptom}; {warning.advice}' for warning in log.warnings] == texts


def test_a_warning_has_the_moment_of_the_tick_before_it_and_counts_its_repetitions():
    log = read('WARNING: a', 'tick 3     kimg 12.5     time 1s', 'WARNING: b', 'WARNING: b', 'WARNING (rank 1): c')
    assert [(w.text, w.kimg, w.count) for w in log.warnings] == [('a', '', 1), ('b', '12.5', 2), ('c', '12.5', 1)]


def test_the_newest_launch_decides_about_the_ending():
    log = read('run folder a', 'tick 0 kimg 0.0', 'stopped at 0.50 kimg; the newest state is of 0.50 kimg')
    assert (log.ending, log.launches) == ('stopped', 1)
    log.add([b'run folder a\n', b'tick 1 kimg 1.0\n'])
    assert (log.ending, log.launches) == ('none', 2)
    log.add([b'done: network-snapshot-000001.safetensors\n'])
    assert log.ending == 'done'


def test_the_options_of_the_next_launch_are_those_after_the_folder():
    assert after_resume("python train.py --resume=/a/b '--plugin=/c d/e.py' --data=x") == [
        '--plugin=/c d/e.py',
        '--data=x',
    ]
    assert after_resume("python train.py --resume=/a/b '--plugin=/c") == []
    assert after_resume('rm -rf /') == []


def test_bytes_that_are_no_text_are_shown_as_such():
    log = RunLog()
    log.add([b'WARNING: \xff\xfe\n'])
    assert log.warnings[0].text == '\ufffd\ufffd'
