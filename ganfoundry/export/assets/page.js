// The page: controls, and what they draw.

const SLOW_MS = 300; // pictures of the corners are drawn if one picture takes less
const STEP = 0.02; // of an arrow key, in sides of the plane

const byId = (id) => document.getElementById(id);
const generator = new Generator();
globalThis.generator = generator; // for programs: await generator.draw({seed: 7, psi: 0.7})

const seeds = [0, 1, 2];
let position = CORNERS[0];
let weights = weightsAt(position);
let lastMs = 0;
let drawn = null; // the picture on the canvas, and the text chunks that draw it again

function fail(error) {
  byId('alert').textContent = `The network cannot draw here: ${error.message}`;
  byId('alert').hidden = false;
}

// Settings that all pictures of the page share.
function settings() {
  return {
    psi: network.psi ?? Number(byId('psi').value),
    label: Number(byId('class').value),
    noise: network.noise_maps.length > 0 ? byId('noise').value : network.noise,
    noiseSeed: Number(byId('noise-seed').value),
  };
}

// Returns the seed under the dot, null between the seeds.
function seedUnderDot() {
  const corner = weights.indexOf(1);
  return corner < 0 ? null : seeds[corner];
}

// Drawing: one picture at a time, the newest large one first, then the corners.

const wanted = new Set();
let working = false;

async function want(...targets) {
  targets.forEach((target) => wanted.add(target));
  if (working) return;
  setWorking(true);
  try {
    while (wanted.size > 0) {
      const target = wanted.has('picture') ? 'picture' : wanted.values().next().value;
      wanted.delete(target);
      if (target === 'picture') await drawPicture();
      else if (lastMs < SLOW_MS) await drawCorner(target);
    }
  } catch (error) {
    fail(error);
  }
  setWorking(false);
}

function setWorking(value) {
  working = value;
  byId('picture').parentElement.ariaBusy = String(value);
}

async function drawPicture() {
  const [used, seed] = [settings(), seedUnderDot()];
  const latent = blendLatents(seeds.map((number) => generator.latentOf(number)), weights);
  const { numbers, shape, ms } = await generator.draw({ latent, ...used });
  const picture = toPixels(numbers, shape, network.bits);
  show(byId('picture'), picture);
  drawn = { picture, name: nameOf(seed), texts: textsOf(seed, latent, used) };
  lastMs = ms;
  byId('save').disabled = false;
  const time = ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`;
  byId('caption').textContent = `${seed === null ? mixture() : `Seed ${seed}`}. Drawing took ${time}.`;
}

async function drawCorner(k) {
  const { numbers, shape } = await generator.draw({ seed: seeds[k], ...settings() });
  show(byId(`corner${k}`).firstElementChild, toPixels(numbers, shape, network.bits));
}

// Returns the seeds with their weights, in words.
function mixture() {
  return seeds.map((seed, k) => `${Math.round(100 * weights[k])} % seed ${seed}`).join(', ');
}

// Saving: a PNG that `generate.py --from` draws again.

function nameOf(seed) {
  return seed === null ? `seeds${seeds.join('-')}.png` : `seed${String(seed).padStart(4, '0')}.png`;
}

// Returns the text chunks; none if generate.py would draw another picture, as it does under random noise.
function textsOf(seed, latent, { psi, label, noise }) {
  if (network.texts === null || noise === 'random') return {};
  const texts = { ...network.texts, truncation_psi: String(psi), noise_mode: noise, batch: '[0, 1]' };
  if (seed !== null) {
    return { ...texts, seed: String(seed), class_idx: network.c_dim > 0 ? String(label) : 'null' };
  }
  const c = Float32Array.from({ length: network.c_dim }, (_, i) => (i === label ? 1 : 0));
  return { ...texts, z: base64(latent), noise_seed: '0', ...(network.c_dim > 0 ? { c: base64(c) } : {}) };
}

function base64(numbers) {
  return btoa(String.fromCharCode(...new Uint8Array(numbers.buffer)));
}

async function save() {
  const link = document.createElement('a');
  link.href = URL.createObjectURL(await encodePng(drawn.picture, drawn.texts));
  link.download = drawn.name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

// Controls.

function move([x, y]) {
  position = [Math.min(Math.max(x, 0), 1), Math.min(Math.max(y, 0), 1)];
  weights = weightsAt(position);
  const dot = byId('dot');
  dot.style.left = `${100 * position[0]}%`;
  dot.style.top = `${100 * position[1]}%`;
  dot.setAttribute('aria-valuenow', String(Math.round(100 * position[0])));
  dot.setAttribute('aria-valuetext', mixture());
  want('picture');
}

function setSeed(k, seed) {
  seeds[k] = seed;
  byId(`seed${k}`).value = seed;
  const corner = byId(`corner${k}`);
  corner.lastElementChild.textContent = `seed ${seed}`;
  corner.setAttribute('aria-label', `Go to seed ${seed}`);
  want(k);
  move(position);
}

function drag(event) {
  const box = byId('plane').getBoundingClientRect();
  move([(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height]);
}

function onKey(event) {
  const [dx, dy] = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key] ?? [0, 0];
  if (dx === 0 && dy === 0) return;
  event.preventDefault();
  const step = event.shiftKey ? 5 * STEP : STEP;
  move([position[0] + step * dx, position[1] + step * dy]);
}

function connectPlane() {
  const plane = byId('plane');
  byId('triangle').setAttribute('points', CORNERS.map((corner) => corner.join(',')).join(' '));
  CORNERS.forEach((corner, k) => {
    const button = byId(`corner${k}`);
    button.style.left = `${100 * corner[0]}%`;
    button.style.top = `${100 * corner[1]}%`;
    button.addEventListener('click', () => move(corner));
    byId(`seed${k}`).addEventListener('input', ({ target }) => {
      if (target.checkValidity()) setSeed(k, Number(target.value));
    });
  });
  plane.addEventListener('pointerdown', (event) => {
    if (byId('fields').disabled || event.target.closest('.corner')) return;
    plane.setPointerCapture(event.pointerId);
    drag(event);
  });
  plane.addEventListener('pointermove', (event) => {
    if (plane.hasPointerCapture(event.pointerId)) drag(event);
  });
  byId('dot').addEventListener('keydown', onKey);
}

// Draws on the GPU if it draws what the processor draws, at the corners and under the dot.
async function chooseProvider() {
  const box = byId('gpu');
  const status = byId('gpu-status');
  if (!box.checked) {
    await generator.choose('wasm', []);
    status.textContent = 'The processor draws.';
  } else {
    status.textContent = 'Comparing the GPU with the processor …';
    const pictures = seeds.map((seed) => ({ seed, ...settings() }));
    try {
      const { difference, accepted } = await generator.choose('webgpu', pictures);
      box.checked = accepted;
      const found = `the largest difference between GPU and processor is ${difference.toExponential(1)}`;
      status.textContent = accepted ? `The GPU draws; ${found}.` : `The processor draws: ${found}, too large.`;
    } catch (error) {
      box.checked = false;
      await generator.choose('wasm', []);
      status.textContent = `The processor draws: this browser offers no WebGPU for the network (${error.message}).`;
    }
  }
  want('picture', 0, 1, 2);
}

function connectControls() {
  const redraw = () => want('picture', 0, 1, 2);
  byId('psi-row').hidden = network.psi !== null;
  byId('psi').addEventListener('input', ({ target }) => {
    byId('psi-value').textContent = Number(target.value).toFixed(2);
    redraw();
  });
  byId('psi-value').textContent = Number(byId('psi').value).toFixed(2);
  byId('class-row').hidden = network.c_dim === 0;
  network.classes.forEach((name, index) => byId('class').add(new Option(name, index)));
  byId('class').addEventListener('input', redraw);
  byId('noise-row').hidden = network.noise_maps.length === 0;
  byId('noise').addEventListener('input', ({ target }) => {
    byId('noise-seed').disabled = target.value !== 'random';
    redraw();
  });
  byId('noise-seed').addEventListener('input', ({ target }) => {
    if (target.checkValidity()) redraw();
  });
  byId('gpu-row').hidden = !network.webgpu;
  byId('gpu').addEventListener('input', () => chooseProvider().catch(fail));
  byId('shuffle').addEventListener('click', () => {
    const random = crypto.getRandomValues(new Uint32Array(3));
    random.forEach((number, k) => setSeed(k, number % 100000));
  });
  byId('save').addEventListener('click', () => save().catch(fail));
  byId('controls').addEventListener('submit', (event) => event.preventDefault());
}

async function main() {
  byId('picture').classList.toggle('pixelated', network.width < 256);
  connectPlane();
  connectControls();
  await generator.ready;
  byId('fields').disabled = false;
  seeds.forEach((seed, k) => setSeed(k, seed));
}

main().catch(fail);
