// One picture: at most one request is on its way, and only the newest settings follow it.

import { ask, connection, Gone, Refused } from './server.js';
import { state } from './state.js';

const SLOW_S = 0.5; // a drawing that took longer says so
const PATIENCE_MS = 400; // until the page says that it draws

export class Picture {
  /** side: 0 or 1. parent: the element that gets the figure. */
  constructor(side, parent) {
    this.side = side;
    this.network = null;
    this.wanted = null; // { query, draft } of the newest settings
    this.shown = ''; // query of the picture on the screen, and whether it is a draft
    this.frames = 0;
    this.figure = document.createElement('figure');
    this.image = document.createElement('img');
    this.note = document.createElement('p');
    this.note.className = 'note';
    this.note.setAttribute('role', 'status');
    this.image.alt = 'Picture of the network';
    this.figure.append(this.image, this.note);
    parent.append(this.figure);
    state.addEventListener('change', (event) => this.want(event.detail.draft));
    connection.addEventListener('back', () => this.want(false, true));
  }

  /** Gives the picture its place. network: its facts. size: the largest side in pixels of the screen. */
  fit(network, size) {
    this.network = network;
    this.image.alt = `Picture of ${network.name}`;
    this.image.width = network.width;
    this.image.height = network.height;
    const scale = Math.max(Math.floor(size / Math.max(network.width, network.height)), 1);
    this.image.style.width = `${network.width * scale}px`;
    this.image.classList.toggle('pixels', scale > 1);
  }

  get query() {
    return state.query(this.side, this.network);
  }

  /** Asks for the present settings. again: even if they are shown. */
  want(draft, again = false) {
    const query = this.query;
    if (again) this.shown = '';
    this.figure.dataset.shown = ''; // until it is there
    this.wanted = { query, draft };
    if (!this.busy) this.work();
  }

  async work() {
    this.busy = true;
    let showing = Promise.resolve(); // the browser decodes a picture while the server draws the next one
    while (this.wanted) {
      const { query, draft } = this.wanted;
      this.wanted = null;
      const key = `${query} ${draft}`;
      if (key === this.shown || (draft && this.shown === `${query} false`)) continue;
      const began = performance.now();
      const timer = setInterval(() => this.say(`drawing … ${seconds(performance.now() - began)}`), PATIENCE_MS);
      try {
        const response = await ask('image', `side=${this.side}${draft ? '&draft=1' : ''}&${query}`);
        if (response.status === 204) continue;
        const blob = await response.blob();
        await showing;
        showing = this.show(blob);
        this.shown = key;
        // A picture that the server has kept comes at once.
        const took = Math.min(Number(response.headers.get('x-seconds')), (performance.now() - began) / 1000);
        this.say(took >= SLOW_S ? `drawing took ${took.toFixed(1)} s` : '');
      } catch (error) {
        if (!(error instanceof Refused || error instanceof Gone)) throw error;
        this.say(error instanceof Refused ? error.message : '');
        this.shown = '';
      } finally {
        clearInterval(timer);
      }
    }
    await showing;
    this.busy = false;
    if (this.wanted) this.work();
    else this.figure.dataset.shown = this.shown;
  }

  async show(blob) {
    const before = this.address;
    this.address = URL.createObjectURL(blob);
    this.image.src = this.address;
    await this.image.decode();
    if (before) URL.revokeObjectURL(before);
    this.frames += 1;
    this.figure.dataset.frames = this.frames;
  }

  say(text) {
    this.note.textContent = text;
  }
}

function seconds(ms) {
  return `${(ms / 1000).toFixed(1)} s`;
}
