// The controls: sliders, boxes and lists, each bound to one setting in both directions.

import { ask } from './server.js';
import { DEFAULTS, parse_steps, state } from './state.js';

const byId = (id) => document.getElementById(id);
const RANDOM = 100000; // seeds below this are easy to read and to type

/** Fills the sliders, boxes and lists that every network has. */
export function start_controls() {
  document.querySelectorAll('.slider').forEach((row) => {
    const { key, min, max, step } = row.dataset;
    slider(row, row.textContent, { min, max, step }, () => state.get(key), (text) => ({ [key]: text }));
  });
  for (const key of ['seed', 'seed2', 'seed3', 'mix', 'noise_seed']) bind_seed(byId(key), key);
  byId('random').addEventListener('click', () => {
    state.set({ seed: String(Math.floor(Math.random() * RANDOM)), start: '' });
  });
  bind(byId('noise'), 'noise');
  bind(byId('start'), 'start');
  byId('recalibrate').addEventListener('change', (event) => state.set({ recalibrate: event.target.checked ? '1' : '0' }));
  state.addEventListener('change', () => {
    byId('recalibrate').checked = state.get('recalibrate') === '1';
    byId('noise-seed-row').hidden = state.get('noise') !== 'random';
  });
  byId('controls').addEventListener('submit', (event) => event.preventDefault());
}

/** Shows the controls that the networks have. info: the answer of the server. */
export function fill_controls(info) {
  const [first] = info.networks;
  const any = (trait) => info.networks.some((network) => network[trait]);
  byId('start-row').hidden = info.starts.length === 0;
  byId('start').replaceChildren(option('', 'Seed A'), ...info.starts.map((name) => option(name, name)));
  byId('noise-rows').hidden = !any('noise');
  byId('recalibrate-row').hidden = !any('batch_norm');
  byId('move-rows').hidden = !any('movable');
  info.networks.forEach((network, side) => fill_snapshots(network, side));
  if (first.num_classes > 0) fill_classes(first);
  if (first.layers.length > 0) fill_layers(first.layers);
  byId('directions').hidden = false;
  for (const [kind, title] of [['sefa', 'SeFa'], ['pca', 'PCA']]) {
    for (let index = 0; index < (first.directions[kind] ?? 0); index += 1) direction(kind, title, index);
  }
  byId('directions-zero').addEventListener('click', () => state.set({ sefa: '', pca: '' }));
  state.announce(false);
}

function option(value, text) {
  const element = document.createElement('option');
  element.value = value;
  element.textContent = text;
  return element;
}

/** Binds an element with a value to a setting. */
function bind(element, key) {
  element.addEventListener('change', () => state.set({ [key]: element.value }));
  const show = () => { element.value = state.get(key); };
  state.addEventListener('change', show);
  show();
}

function bind_seed(input, key) {
  input.addEventListener('input', () => {
    const text = input.value === '' ? DEFAULTS[key] : input.value;
    if (input.checkValidity() && /^\d+$/.test(text || '0')) state.set({ [key]: text }, true);
  });
  const show = () => { if (document.activeElement !== input) input.value = state.get(key); };
  input.addEventListener('blur', show);
  state.addEventListener('change', show);
  show();
}

/** Makes a labeled slider. read: returns its text. change: returns the settings of a text. */
function slider(row, title, limits, read, change) {
  const id = `slider-${title.toLowerCase().replace(/[^a-z0-9]+/g, '-')}`;
  const label = document.createElement('label');
  const input = document.createElement('input');
  const output = document.createElement('output');
  label.htmlFor = input.id = id;
  label.textContent = title;
  output.htmlFor = id;
  Object.assign(input, { type: 'range', ...limits });
  input.addEventListener('input', () => state.set(change(input.value), true));
  input.addEventListener('change', () => state.set(change(input.value)));
  input.addEventListener('dblclick', () => state.set(change(DEFAULTS[row.dataset.key] ?? '0')));
  row.className = 'slider row';
  row.replaceChildren(label, input, output);
  const show = () => {
    if (input.value !== read()) input.value = read();
    output.textContent = Number(read()).toFixed(limits.step >= 1 ? 0 : 2);
  };
  state.addEventListener('change', show);
  show();
  return input;
}

function direction(kind, title, index) {
  const row = document.createElement('div');
  byId(kind).append(row);
  const read = () => parse_steps(state.get(kind)).get(String(index)) ?? '0';
  slider(row, `${title} ${index + 1}`, { min: '-3', max: '3', step: '0.1' }, read, (text) => {
    const steps = parse_steps(state.get(kind));
    if (Number(text) === 0) steps.delete(String(index));
    else steps.set(String(index), text);
    return { [kind]: [...steps].map((step) => step.join(':')).join(',') };
  });
}

function fill_layers(titles) {
  byId('layers').hidden = false;
  const boxes = titles.map((title, index) => {
    const label = document.createElement('label');
    const box = document.createElement('input');
    box.type = 'checkbox';
    box.value = String(index);
    box.addEventListener('change', () => {
      state.set({ styles: boxes.filter((other) => other.checked).map((other) => other.value).join(',') });
    });
    label.append(box, title);
    byId('strip').append(label);
    return box;
  });
  byId('styles-none').addEventListener('click', () => state.set({ styles: '' }));
  byId('styles-all').addEventListener('click', () => state.set({ styles: boxes.map((box) => box.value).join(',') }));
  state.addEventListener('change', () => {
    const chosen = state.get('styles').split(',');
    for (const box of boxes) box.checked = chosen.includes(box.value);
  });
}

function fill_classes({ num_classes, class_names }) {
  byId('class-rows').hidden = false;
  const title = (index) => class_names[index] ?? `class ${index}`;
  const options = () => Array.from({ length: num_classes }, (_, index) => option(String(index), title(index)));
  byId('class').replaceChildren(...options());
  byId('class2').replaceChildren(option('', 'no other'), ...options());
  const change = (draft) => {
    const [one, two, share] = ['class', 'class2', 'share'].map((id) => byId(id).value);
    const rest = (1 - Number(share)).toFixed(2);
    state.set({ class: two === '' || two === one ? one : `${one}:${rest}+${two}:${Number(share).toFixed(2)}` }, draft);
  };
  byId('class').addEventListener('change', () => change(false));
  byId('class2').addEventListener('change', () => {
    if (byId('share').value === '0') byId('share').value = '0.5';
    change(false);
  });
  byId('share').addEventListener('input', () => change(true));
  const show = () => {
    const text = state.get('class') || '0';
    const [one, two] = text.split('+').map((part) => part.split(':'));
    const known = /^\d+$/.test(one[0]) && (two === undefined || /^\d+$/.test(two[0]));
    const own = byId('class').querySelector('.own');
    own?.remove();
    if (!known) { // a vector, or a blend of more classes: the list shows its text
      byId('class').append(Object.assign(option(text, text), { className: 'own' }));
    }
    byId('class').value = known ? one[0] : text;
    byId('class2').value = known && two ? two[0] : '';
    byId('share').disabled = byId('class2').value === '';
    if (known && document.activeElement !== byId('share')) byId('share').value = two ? two[1] : '0';
    byId('share-value').textContent = Number(byId('share').value).toFixed(2);
  };
  state.addEventListener('change', show);
}

function fill_snapshots(network, side) {
  if (!network.snapshot) return;
  const key = side === 0 ? 'snapshot' : 'snapshot2';
  let names = [network.snapshot];
  const row = document.createElement('div');
  byId('snapshots').append(row);
  const read = () => String(Math.max(names.indexOf(state.get(key) || network.snapshot), 0));
  const change = (text) => ({ [key]: names[Number(text)] === network.snapshot ? '' : names[Number(text)] });
  const title = side === 0 ? 'Snapshot' : 'Snapshot of the second';
  const input = slider(row, title, { min: '0', max: '0', step: '1' }, read, change);
  const output = row.querySelector('output');
  const show = () => {
    input.value = read();
    output.textContent = (names[Number(read())] ?? '').replace('network-snapshot-', '');
  };
  const refresh = async () => {
    names = (await (await ask('snapshots')).json())[side];
    input.max = String(names.length - 1);
    show();
  };
  state.addEventListener('change', show);
  input.addEventListener('focus', () => refresh().catch(() => {}));
  refresh().catch(() => {});
}
