// The worker that holds the network, so that the page answers while a picture is computed.

const GPU_LIMIT = 1e-3; // largest difference between the processor and the GPU, relative to values above 1

let ort, model;
let session; // draws
const sessions = {}; // by provider: 'wasm' is the processor, 'webgpu' the GPU

// Returns the bytes of a part of the page, which is gzipped and base64-coded.
async function unpack(text) {
  const packed = atob(text);
  const bytes = new Uint8Array(packed.length);
  for (let i = 0; i < packed.length; i++) bytes[i] = packed.charCodeAt(i);
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream('gzip'));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

// Starts the runtime and the network. Returns the noise that is stored in the network, float32.
async function start(parts) {
  const address = URL.createObjectURL(new Blob([await unpack(parts.runtime)], { type: 'text/javascript' }));
  ort = await import(address);
  ort.env.wasm.numThreads = 1; // more need headers that only a server sends
  ort.env.wasm.wasmBinary = await unpack(parts.wasm);
  ort.env.logLevel = 'error';
  model = await unpack(parts.model);
  session = await sessionOf('wasm');
  return new Float32Array((await unpack(parts.noise)).buffer);
}

async function sessionOf(provider) {
  sessions[provider] ??= await ort.InferenceSession.create(model, { executionProviders: [provider], logSeverityLevel: 3 });
  return sessions[provider];
}

async function run(session, inputs) {
  const feeds = {};
  for (const [name, [numbers, shape]] of Object.entries(inputs)) feeds[name] = new ort.Tensor('float32', numbers, shape);
  return (await session.run(feeds)).img;
}

// Draws a picture. inputs: [numbers, shape] by name.
async function draw({ inputs }) {
  const begin = performance.now();
  const img = await run(session, inputs);
  return { numbers: img.data, shape: img.dims.slice(1), ms: performance.now() - begin };
}

// Chooses what draws. The GPU is taken only if it draws the pictures of some inputs as the processor does. Returns the
// largest difference, and whether it is small enough.
async function choose({ provider, samples }) {
  const processor = await sessionOf('wasm');
  session = processor;
  if (provider === 'wasm') return { difference: 0, accepted: true };
  const gpu = await sessionOf(provider);
  let difference = 0;
  for (const inputs of samples) {
    const [expected, found] = [(await run(processor, inputs)).data, (await run(gpu, inputs)).data];
    const limit = expected.reduce((most, value) => Math.max(most, Math.abs(value)), 1);
    const largest = expected.reduce((most, value, i) => Math.max(most, Math.abs(value - found[i])), 0);
    difference = Math.max(difference, largest / limit); // NaN stays NaN, and is not accepted
  }
  const accepted = difference <= GPU_LIMIT;
  if (accepted) session = gpu;
  return { difference, accepted };
}

const ACTIONS = { start, draw, choose };

async function answer({ id, action, ...options }) {
  try {
    postMessage({ id, result: await ACTIONS[action](options) });
  } catch (error) {
    postMessage({ id, fault: String(error?.message ?? error) });
  }
}

let last = Promise.resolve(); // requests are answered one after the other: a session runs once at a time
onmessage = ({ data }) => {
  last = last.then(() => answer(data));
};
