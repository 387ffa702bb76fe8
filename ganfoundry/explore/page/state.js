// The settings of the page as texts by key. They are those of ganfoundry/explore/view.py, and live in the address.

export const DEFAULTS = {
  seed: '0', seed2: '1', seed3: '2', start: '', x: '0', y: '0', distance: '1', psi: '1', class: '', noise: 'const',
  noise_seed: '', mix: '3', styles: '', sefa: '', pca: '', snapshot: '', recalibrate: '0', translate_x: '0',
  translate_y: '0', rotate: '0',
  snapshot2: '', // snapshot of the second picture
};
const FINAL_MS = 250; // after the last draft
const ADDRESS_MS = 200; // browsers limit the number of changes of the address per second

class State extends EventTarget {
  constructor() {
    super();
    this.values = { ...DEFAULTS };
    this.read();
    window.addEventListener('hashchange', () => {
      this.read();
      this.announce(false);
    });
  }

  /** Takes the settings of the address; unknown ones are passed over. */
  read() {
    this.load(location.hash.slice(1));
  }

  /** Replaces all settings by those of a text such as 'seed=3&psi=0.7'. */
  load(text) {
    const given = new URLSearchParams(text);
    for (const key of Object.keys(DEFAULTS)) this.values[key] = given.get(key) ?? DEFAULTS[key];
  }

  get(key) {
    return this.values[key];
  }

  /** Changes settings. draft: more changes are expected at once, as in a drag. */
  set(changes, draft = false) {
    Object.assign(this.values, changes);
    this.announce(draft);
  }

  announce(draft) {
    clearTimeout(this.finalTimer);
    if (draft) this.finalTimer = setTimeout(() => this.announce(false), FINAL_MS);
    clearTimeout(this.addressTimer);
    this.addressTimer = setTimeout(() => this.write(), ADDRESS_MS);
    this.dispatchEvent(new CustomEvent('change', { detail: { draft } }));
  }

  /** Writes the settings into the address, so that a reload keeps them. */
  write() {
    const text = this.text();
    if (location.hash.slice(1) !== text) history.replaceState(null, '', `#${text}`);
  }

  /** Returns all settings that differ from their default, as the address holds them. */
  text() {
    return text_of(this.values);
  }

  /** Returns the settings of one picture as the server takes them. network: its facts, null if not known yet. */
  query(side, network) {
    return query_of(this.values, side, network);
  }
}

function text_of(values) {
  const changed = Object.entries(values).filter(([key, value]) => value !== DEFAULTS[key]);
  return new URLSearchParams(changed).toString();
}

function query_of(values, side, network) {
  const { snapshot2, ...own } = values;
  if (side === 1) own.snapshot = snapshot2;
  if (network && network.num_classes === 0) own.class = '';
  return text_of(own);
}

/** Returns the settings of one picture for a bookmark, a text of the address. */
export function bookmark_query(text, side, network) {
  const values = Object.fromEntries(new URLSearchParams(text));
  return query_of({ ...DEFAULTS, ...values }, side, network);
}

/** Returns '0:1.5' as a Map from index to text. */
export function parse_steps(text) {
  return new Map(text.split(',').filter(Boolean).map((part) => part.split(':')));
}

export const state = new State();
