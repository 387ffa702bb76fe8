"""Words for files that are not used."""

from training.data.passed_over import PassedOver


def test_nothing_has_no_words():
    passed = PassedOver()
    assert (bool(passed), passed.words(), passed.line()) == (False, '', '')


def test_many_endings_and_names_are_shortened():
    passed = PassedOver()
    for number in range(9):
        for _ in range(9 - number):
            passed.add_file(f'a.K{number}')
    passed.add_file('a.' + 'x' * 50)
    for number in range(5):
        passed.add('linked folder', f'd{number}')
    assert passed.line() == (
        'passed over: 9 .k0, 8 .k1, 7 .k2, 6 .k3, 5 .k4, 4 .k5, 6 with other endings, 1 without a known ending, '
        '5 links to folders (d0, d1, d2 and 2 more)'
    )
