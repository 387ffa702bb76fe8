// The network: its worker, and the inputs of a picture.

// The JSON at the beginning of the page; ganfoundry/export/html.py describes its fields.
const network = JSON.parse(document.getElementById('network').textContent);

class Generator {
  constructor() {
    const source = document.getElementById('worker').textContent;
    const address = URL.createObjectURL(new Blob([source], { type: 'text/javascript' }));
    this.worker = new Worker(address);
    this.waiting = new Map(); // promises of answers, by the number of the request
    this.requests = 0;
    this.worker.onmessage = ({ data: { id, result, fault } }) => {
      const { resolve, reject } = this.waiting.get(id);
      this.waiting.delete(id);
      if (fault === undefined) resolve(result);
      else reject(new Error(fault));
    };
    this.worker.onerror = (event) => {
      for (const { reject } of this.waiting.values()) reject(new Error(event.message || 'the worker did not start'));
    };
    this.ready = this.start();
  }

  ask(action, options) {
    const id = this.requests++;
    this.worker.postMessage({ id, action, ...options });
    return new Promise((resolve, reject) => this.waiting.set(id, { resolve, reject }));
  }

  // Hands the parts of the page to the worker; the page forgets them.
  async start() {
    const parts = {};
    for (const name of ['model', 'runtime', 'wasm', 'noise']) {
      const element = document.getElementById(`part-${name}`);
      parts[name] = element.textContent;
      element.remove();
    }
    this.storedNoise = await this.ask('start', parts);
  }

  // Returns the latent of a seed, float32 [z_dim].
  latentOf(seed) {
    return normals(seed, network.z_dim);
  }

  // Returns the noise of all maps one after the other, float32; that of a seed is kept for the next picture.
  noiseOf(mode, seed) {
    if (mode === 'const') return this.storedNoise;
    const key = mode === 'none' ? mode : seed;
    if (this.drawnNoise?.key !== key) {
      const count = this.storedNoise.length;
      this.drawnNoise = { key, numbers: mode === 'none' ? new Float32Array(count) : normals(seed, count) };
    }
    return this.drawnNoise.numbers;
  }

  // Draws a picture. latent: float32 [z_dim], by default that of `seed`. psi: truncation. label: number of the class.
  // noise: 'const', 'random' or 'none'; noiseSeed: seed of random noise. Returns {numbers, shape, ms}: float32
  // [C, H, W], nominally in [-1, 1], and the milliseconds that the network took.
  async draw(options = {}) {
    await this.ready;
    return this.ask('draw', { inputs: this.inputsOf(options) });
  }

  // Draws on the GPU ('webgpu') or on the processor ('wasm') from now on. The GPU is compared with the processor first,
  // on the pictures of some options of `draw`. Returns {difference, accepted}.
  async choose(provider, options) {
    await this.ready;
    return this.ask('choose', { provider, samples: options.map((picture) => this.inputsOf(picture)) });
  }

  // Returns [numbers, shape] by the names of the model's inputs.
  inputsOf({ seed = 0, latent = this.latentOf(seed), psi = 1, label = 0, noise = 'const', noiseSeed = 0 }) {
    const inputs = { z: [latent, [1, network.z_dim]] };
    if (network.psi === null) inputs.psi = [Float32Array.of(psi), []];
    if (network.c_dim > 0) {
      const c = new Float32Array(network.c_dim);
      c[label] = 1;
      inputs.c = [c, [1, network.c_dim]];
    }
    const numbers = this.noiseOf(noise, noiseSeed);
    let begin = 0;
    for (const [name, height, width] of network.noise_maps) {
      inputs[name] = [numbers.slice(begin, begin + height * width), [1, 1, height, width]];
      begin += height * width;
    }
    return inputs;
  }
}
