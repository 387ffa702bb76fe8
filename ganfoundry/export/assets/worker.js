// The worker that holds the network, so that the page answers while a picture is computed.

let ort, session;

// Returns the bytes of a part of the page, which is gzipped and base64-coded.
async function unpack(text) {
  const packed = atob(text);
  const bytes = new Uint8Array(packed.length);
  for (let i = 0; i < packed.length; i++) bytes[i] = packed.charCodeAt(i);
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream('gzip'));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

// Starts the runtime and the network. Returns the noise that is stored in the network, float32.
async function start({ model, runtime, wasm, noise }) {
  const address = URL.createObjectURL(new Blob([await unpack(runtime)], { type: 'text/javascript' }));
  ort = await import(address);
  ort.env.wasm.numThreads = 1; // more need headers that only a server sends
  ort.env.wasm.wasmBinary = await unpack(wasm);
  ort.env.logLevel = 'error';
  session = await ort.InferenceSession.create(await unpack(model), { executionProviders: ['wasm'] });
  return new Float32Array((await unpack(noise)).buffer);
}

// inputs: [numbers, shape] by name.
async function draw({ inputs }) {
  const feeds = {};
  for (const [name, [numbers, shape]] of Object.entries(inputs)) feeds[name] = new ort.Tensor('float32', numbers, shape);
  const begin = performance.now();
  const { img } = await session.run(feeds);
  return { numbers: img.data, shape: img.dims.slice(1), ms: performance.now() - begin };
}

const ACTIONS = { start, draw };

onmessage = async ({ data: { id, action, ...options } }) => {
  try {
    postMessage({ id, result: await ACTIONS[action](options) });
  } catch (error) {
    postMessage({ id, fault: String(error?.message ?? error) });
  }
};
