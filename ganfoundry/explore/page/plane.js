// The plane of latents: A in the middle, B to the right, C up.

import { state } from './state.js';

const STEP = 0.05; // of an arrow key
const FINE_STEP = 0.01; // with Shift
const ZOOM = 1.1; // of a key, and of a notch of the wheel
const MAX_DISTANCE = 4; // as the slider has it

const clamp = (value, least, most) => Math.min(Math.max(value, least), most);
const round = (value) => String(Number(value.toFixed(3)));

export function start_plane() {
  const plane = document.getElementById('plane');
  plane.addEventListener('pointerdown', (event) => {
    plane.setPointerCapture(event.pointerId);
    move_to(plane, event, true);
  });
  plane.addEventListener('pointermove', (event) => {
    if (plane.hasPointerCapture(event.pointerId)) move_to(plane, event, true);
  });
  plane.addEventListener('pointerup', (event) => move_to(plane, event, false));
  plane.addEventListener('wheel', (event) => {
    event.preventDefault();
    zoom(event.deltaY < 0 ? ZOOM : 1 / ZOOM, true);
  }, { passive: false });
  plane.addEventListener('keydown', (event) => {
    if (press(event)) event.preventDefault();
  });
  state.addEventListener('change', show);
  show();
}

function move_to(plane, event, draft) {
  const box = plane.getBoundingClientRect();
  const x = ((event.clientX - box.left) / box.width) * 2 - 1;
  const y = 1 - ((event.clientY - box.top) / box.height) * 2;
  state.set({ x: round(clamp(x, -1, 1)), y: round(clamp(y, -1, 1)) }, draft);
}

function press(event) {
  const step = event.shiftKey ? FINE_STEP : STEP;
  const moves = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowDown: [0, -step], ArrowUp: [0, step] };
  if (event.ctrlKey || event.altKey || event.metaKey) return false;
  if (event.key in moves) {
    const [x, y] = moves[event.key];
    const moved = (key, by) => round(clamp(Number(state.get(key)) + by, -1, 1));
    state.set({ x: moved('x', x), y: moved('y', y) }, true);
  } else if (event.key === 'Home') {
    state.set({ x: '0', y: '0' });
  } else if (['+', '=', '-', '−'].includes(event.key)) {
    zoom('+='.includes(event.key) ? ZOOM : 1 / ZOOM, true);
  } else {
    return false;
  }
  return true;
}

function zoom(factor, draft) {
  const distance = Number(state.get('distance')) || 0.1; // from zero, there is no factor
  state.set({ distance: round(clamp(distance * factor, 0.01, MAX_DISTANCE)) }, draft);
}

function show() {
  const place = (id, x, y) => {
    const mark = document.getElementById(id);
    mark.style.left = `${(clamp(x, -1, 1) + 1) * 50}%`;
    mark.style.top = `${(1 - clamp(y, -1, 1)) * 50}%`;
  };
  const distance = Number(state.get('distance'));
  place('dot', Number(state.get('x')), Number(state.get('y')));
  place('mark-b', 0.94 / Math.max(distance, 1), 0);
  place('mark-c', 0, 0.92 / Math.max(distance, 1));
}
