"""The command report.py: one page, written whole, whatever the state of the run; nothing is asked of other files."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path

import pytest
from click.testing import CliRunner

from dnnlib.errors import UserError
from ganfoundry.commands.report import main
from ganfoundry.report.run_report import open_runs
from ganfoundry.report.run_sheets import encode_sheet
from tests.support.browser import Browser
from tests.support.run_folders import files_of, write_run

# Clicks the third of four images in both directions.
CLICK = """
const { left, top, width, height } = arguments[0].getBoundingClientRect();
const place = { bubbles: true, clientX: left + 0.6 * width, clientY: top + 0.6 * height };
arguments[0].dispatchEvent(new MouseEvent('click', place));
"""


def run(*words: object) -> str:
    """Carries out a command line and returns its output."""
    done = CliRunner().invoke(main, [str(word) for word in words], catch_exceptions=False)
    assert done.exit_code == 0
    return done.output


def refusal(*words: object) -> str:
    """Returns the message with which a command line is refused."""
    with pytest.raises(UserError) as error:
        CliRunner().invoke(main, [str(word) for word in words], catch_exceptions=False)
    return str(error.value)


def test_the_command_writes_one_page_and_prints_the_state(finished: Path, tmp_path: Path):
    before = files_of(finished)
    output = run(finished, '--out', tmp_path / 'a.html')
    assert 'Finished at 6 of 6 kimg' in output
    assert sorted(path.name for path in tmp_path.iterdir()) == ['00000-finished', 'a.html']
    assert files_of(finished) == before
    run(finished, '--out', tmp_path / 'a.html')  # its own page is replaced


def test_every_mistake_is_one_sentence_and_nothing_is_written(finished: Path, tmp_path: Path):
    (tmp_path / 'mine.html').write_text('mine')
    before = files_of(tmp_path)
    out = f'--out={tmp_path / "a.html"}'
    assert 'RUN is missing' in refusal(out)
    assert 'no such folder' in refusal(tmp_path / 'nothing', out)
    assert 'is a file' in refusal(tmp_path / 'mine.html', out)
    assert 'is named twice' in refusal(finished, f'{finished}/../{finished.name}', out)
    assert 'there is no folder' in refusal(finished, f'--out={tmp_path}/no/a.html')
    assert 'is a folder' in refusal(finished, f'--out={tmp_path}')
    assert 'lies in the run folder' in refusal(finished, f'--out={finished}/a.html')
    assert 'is no page of report.py' in refusal(finished, f'--out={tmp_path}/mine.html')
    assert 'there is no run' in refusal(tmp_path / 'none' / 'latest', out)
    assert files_of(tmp_path) == before


def test_runs_of_one_name_are_told_apart_by_their_folders(tmp_path: Path):
    paths = [write_run(tmp_path / name / '00000-run') for name in 'ab']
    assert [reading.name for reading in open_runs(paths)] == ['a/00000-run', 'b/00000-run']


def test_the_newest_run_is_latest(tmp_path: Path):
    write_run(tmp_path / '00000-a')
    write_run(tmp_path / '00001-b')
    run(tmp_path / 'latest', '--out', tmp_path / 'a.html')
    assert '<title>00001-b</title>' in (tmp_path / 'a.html').read_text()


def show(browser: Browser, page: Path, **size) -> None:
    """Opens a page from the disk and asserts that it asks for nothing."""
    browser.show(page.as_uri(), **size)
    assert browser.messages() == []
    assert [place for place in browser.requests() if not place.startswith('data:')] == [page.as_uri()]


@pytest.mark.slow
@pytest.mark.parametrize(('width', 'dark'), [(1280, False), (360, True)])
def test_the_slider_at_a_moment_shows_the_sheet_of_that_moment(
    browser: Browser, finished: Path, tmp_path: Path, width: int, dark: bool
):
    from selenium.webdriver.common.keys import Keys

    run(finished, '--out', tmp_path / 'a.html')
    show(browser, tmp_path / 'a.html', width=width, dark=dark)
    assert browser.driver.execute_script('return document.documentElement.scrollWidth') == width
    slider = browser.driver.find_element('id', 'sheet-slider')
    slider.send_keys(Keys.HOME)
    for nimg in (0, 2000, 4000, 6000):
        name = f'fakes00000{nimg // 1000}.png' if nimg else 'fakes_init.png'
        expected = hashlib.sha256(encode_sheet(finished / name, (16, 16)).data).hexdigest()
        src = browser.driver.find_element('css selector', '.sheet-frame img').get_attribute('src')
        shown = hashlib.sha256(base64.b64decode(src.partition('base64,')[2])).hexdigest()
        assert shown == expected
        assert slider.get_attribute('aria-valuetext').startswith(f'{nimg // 1000} kimg' if nimg else 'untrained')
        slider.send_keys(Keys.ARROW_RIGHT)


@pytest.mark.slow
def test_one_image_is_enlarged_through_time_by_keys_and_by_mouse(browser: Browser, finished: Path, tmp_path: Path):
    from selenium.webdriver.common.keys import Keys

    run(finished, '--out', tmp_path / 'a.html')
    show(browser, tmp_path / 'a.html')
    where = browser.driver.find_elements('css selector', '.sheet-both .small')[-1]
    assert where.text == 'Image in column 1, row 1'
    frame = browser.driver.find_element('css selector', '.sheet-frame')
    frame.send_keys(Keys.ARROW_RIGHT, Keys.ARROW_RIGHT, Keys.ARROW_DOWN, Keys.ARROW_UP, Keys.ARROW_UP)
    assert where.text == 'Image in column 3, row 1'
    assert len(browser.driver.find_elements('css selector', '.sheet-strip canvas')) == 4
    browser.driver.execute_script(CLICK, frame)
    assert where.text == 'Image in column 3, row 3'


@pytest.mark.slow
def test_play_goes_through_all_sheets(browser: Browser, finished: Path, tmp_path: Path):
    from selenium.webdriver.support.wait import WebDriverWait

    run(finished, '--out', tmp_path / 'a.html')
    show(browser, tmp_path / 'a.html')
    button = browser.driver.find_element('css selector', '.sheet-controls button')
    slider = browser.driver.find_element('id', 'sheet-slider')
    button.click()
    assert (button.text, slider.get_attribute('value')) == ('Pause', '0')
    WebDriverWait(browser.driver, 20).until(lambda _: button.text == 'Play')
    assert slider.get_attribute('value') == '3'


@pytest.mark.slow
def test_hostile_names_stay_text_in_the_browser(browser: Browser, tmp_path: Path):
    evil = '<img src=x onerror=alert(1)><script>document.title = 1<'
    first = write_run(tmp_path / f'00000-{evil}', record={'classes': [evil]})
    second = write_run(tmp_path / '00001-b')
    run(first, second, '--out', tmp_path / 'a.html')
    show(browser, tmp_path / 'a.html')
    assert browser.driver.title == '2 runs'
    assert browser.driver.execute_script('return document.querySelectorAll("img[onerror]").length') == 0
    assert evil in browser.driver.find_element('css selector', '.sheet-panel h3').text
