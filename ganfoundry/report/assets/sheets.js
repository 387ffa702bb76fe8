'use strict';

// One slider over the sample sheets of all runs, and one image of them enlarged through time.
const Sheets = (() => {
  const STRIP = 24; // images of the strip at most
  const STEP_MS = 300; // time per sheet while playing
  const pictures = new Map();
  let view = null;

  function element(tag, attributes = {}, ...children) {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    made.append(...children);
    return made;
  }

  function picture(src) {
    if (!pictures.has(src)) {
      const image = new Image();
      image.src = src;
      pictures.set(src, image.decode().then(() => image));
    }
    return pictures.get(src);
  }

  // The moments of all runs, each once, in their order.
  function moments() {
    const all = new Set(view.runs.flatMap((run) => run.sheets.map((sheet) => sheet.kimg)));
    return [...all].sort((a, b) => a - b);
  }

  function current(run) {
    const kimg = view.moments[view.at];
    return run.sheets.filter((sheet) => sheet.kimg <= kimg).at(-1) ?? run.sheets[0];
  }

  function cut(canvas, image, run, cell) {
    const width = image.naturalWidth / run.columns;
    const height = image.naturalHeight / run.rows;
    canvas.width = Math.round(width);
    canvas.height = Math.round(height);
    canvas.getContext('2d').drawImage(image, cell.column * width, cell.row * height, width, height, 0, 0, canvas.width, canvas.height);
  }

  async function drawPanel(panel) {
    const { run } = panel;
    const sheet = view.showReals && run.reals ? { src: run.reals, caption: 'real images' } : current(run);
    const cell = { column: Math.min(view.cell.column, run.columns - 1), row: Math.min(view.cell.row, run.rows - 1) };
    if (!sheet) return;
    panel.image.src = sheet.src;
    panel.image.alt = `Sample sheet of ${run.name}, ${sheet.caption}`;
    panel.caption.textContent = sheet.caption;
    Object.assign(panel.box.style, {
      left: `${(100 * cell.column) / run.columns}%`,
      top: `${(100 * cell.row) / run.rows}%`,
      width: `${100 / run.columns}%`,
      height: `${100 / run.rows}%`,
    });
    const image = await picture(sheet.src);
    if (panel.image.src === image.src) cut(panel.large, image, run, cell);
    panel.where.textContent = `Image in column ${cell.column + 1}, row ${cell.row + 1}`;
  }

  async function drawStrip(panel) {
    const { run } = panel;
    const cell = { column: Math.min(view.cell.column, run.columns - 1), row: Math.min(view.cell.row, run.rows - 1) };
    const count = Math.min(STRIP, run.sheets.length);
    const chosen = [...Array(count).keys()].map((i) => run.sheets[Math.round((i * (run.sheets.length - 1)) / Math.max(count - 1, 1))]);
    const made = chosen.map((sheet) => {
      const canvas = element('canvas', { title: sheet.caption, width: 16, height: 16 });
      canvas.dataset.kimg = sheet.kimg;
      picture(sheet.src).then((image) => cut(canvas, image, run, cell));
      return canvas;
    });
    panel.strip.replaceChildren(...made);
    markStrip(panel);
  }

  function markStrip(panel) {
    const now = current(panel.run);
    for (const canvas of panel.strip.children) {
      canvas.classList.toggle('now', now !== undefined && Number(canvas.dataset.kimg) === now.kimg);
    }
  }

  function draw(strips = false) {
    const kimg = view.moments[view.at];
    const captions = view.runs.map((run) => current(run)?.caption ?? '');
    view.slider.max = view.moments.length - 1;
    view.slider.value = view.at;
    const text = kimg === undefined ? 'no sheet' : view.runs.length === 1 ? captions[0] : `${kimg} kimg`;
    view.slider.setAttribute('aria-valuetext', text);
    view.output.textContent = `${text} (sheet ${view.at + 1} of ${view.moments.length})`;
    for (const panel of view.panels) {
      drawPanel(panel);
      if (strips) drawStrip(panel);
      else markStrip(panel);
    }
  }

  function go(at) {
    view.at = Math.min(Math.max(at, 0), view.moments.length - 1);
    draw();
  }

  function play(on) {
    clearInterval(view.timer);
    view.timer = 0;
    view.button.textContent = on ? 'Pause' : 'Play';
    if (!on) return;
    if (view.at === view.moments.length - 1) go(0);
    view.timer = setInterval(() => {
      if (view.at === view.moments.length - 1) play(false);
      else go(view.at + 1);
    }, STEP_MS);
  }

  function select(column, row) {
    const columns = Math.max(...view.runs.map((run) => run.columns));
    const rows = Math.max(...view.runs.map((run) => run.rows));
    view.cell = { column: Math.min(Math.max(column, 0), columns - 1), row: Math.min(Math.max(row, 0), rows - 1) };
    draw(true);
  }

  function panelOf(run) {
    const image = element('img', { alt: '' });
    const box = element('div', { class: 'sheet-cell' });
    const frame = element('div', { class: 'sheet-frame', tabindex: '0', role: 'group', 'aria-label': `Sheet of ${run.name}; arrow keys choose an image` }, image, box);
    const large = element('canvas', { class: 'sheet-large', role: 'img', 'aria-label': 'The chosen image, enlarged' });
    const caption = element('p', { class: 'small' });
    const where = element('p', { class: 'small' });
    const strip = element('div', { class: 'sheet-strip', 'aria-hidden': 'true' });
    const both = element('div', { class: 'sheet-both' }, element('div', {}, frame, caption), element('div', {}, large, where));
    const root = element('div', { class: 'sheet-panel' }, both, strip);
    if (view.runs.length > 1) root.prepend(element('h3', {}, run.name));
    frame.addEventListener('click', (event) => {
      const place = image.getBoundingClientRect();
      select(
        Math.floor(((event.clientX - place.left) / place.width) * run.columns),
        Math.floor(((event.clientY - place.top) / place.height) * run.rows),
      );
    });
    frame.addEventListener('keydown', (event) => {
      const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
      if (!step) return;
      event.preventDefault();
      select(view.cell.column + step[0], view.cell.row + step[1]);
    });
    strip.addEventListener('click', (event) => {
      if (event.target.dataset.kimg !== undefined) go(view.moments.indexOf(Number(event.target.dataset.kimg)));
    });
    return { run, root, image, box, large, caption, where, strip };
  }

  function create(place, runs) {
    const slider = element('input', { type: 'range', min: 0, step: 1, 'aria-label': 'Moment of the sheets', id: 'sheet-slider' });
    const button = element('button', { type: 'button' }, 'Play');
    const reals = element('button', { type: 'button', 'aria-pressed': 'false' }, 'Real images');
    const output = element('output', { for: 'sheet-slider' });
    view = { runs, slider, button, output, at: 0, cell: { column: 0, row: 0 }, timer: 0, showReals: false, panels: [], moments: [] };
    view.moments = moments();
    view.at = Math.max(view.moments.length - 1, 0);
    view.panels = runs.filter((run) => run.sheets.length).map(panelOf);
    reals.hidden = !runs.some((run) => run.reals);
    slider.addEventListener('input', () => { play(false); go(Number(slider.value)); });
    button.addEventListener('click', () => play(!view.timer));
    reals.addEventListener('click', () => {
      view.showReals = !view.showReals;
      reals.setAttribute('aria-pressed', String(view.showReals));
      draw();
    });
    place.append(
      element('div', { class: 'sheet-controls' }, button, slider, reals, output),
      element('div', { class: 'sheet-panels' }, ...view.panels.map((panel) => panel.root)),
    );
    draw(true);
  }

  // Adds a sheet of a run, or replaces the one of its moment. A slider at its end follows.
  function add(index, sheet) {
    const run = view.runs[index];
    const follows = view.at === view.moments.length - 1;
    const kimg = view.moments[view.at];
    run.sheets = [...run.sheets.filter((other) => other.kimg !== sheet.kimg), sheet].sort((a, b) => a.kimg - b.kimg);
    view.moments = moments();
    view.at = follows ? view.moments.length - 1 : view.moments.indexOf(kimg);
    draw(true);
  }

  return { create, add };
})();
