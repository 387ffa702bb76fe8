// Requests to the server, and the banner that says when it is gone.

const BEAT_MS = 3000; // between two signs of life
const LOST_BEAT_MS = 1000;
const PATIENCE_MS = 10000; // for a sign of life
const MISSING = 'The server does not answer. It was stopped, or the connection to it is cut. ' +
  'This page keeps its settings and continues when the server is back.';
const LOCKED = 'The server was started again and has another token. ' +
  'Paste the address that it has printed; this page keeps its settings.';

const tab = crypto.getRandomValues(new Uint32Array(2)).join('-');
let token = new URLSearchParams(location.search).get('token') ?? '';
let problem = ''; // '', MISSING or LOCKED

export const connection = new EventTarget(); // 'back': the server answers again

/** Error of a request that the server has refused in words. */
export class Refused extends Error {}
/** Error of a request that no server has answered. */
export class Gone extends Error {}

/** Returns the response to a request, 204 included. query: settings as text. */
export async function ask(path, query = '', options = {}) {
  let response;
  try {
    response = await fetch(`${path}?token=${encodeURIComponent(token)}${query ? `&${query}` : ''}`, {
      ...options, headers: { 'x-tab': tab, ...options.headers },
    });
  } catch (error) {
    report(MISSING);
    throw new Gone(error.message);
  }
  report(response.status === 403 ? LOCKED : '');
  if (response.status === 403) throw new Gone('403');
  if (response.status === 422) throw new Refused((await response.json()).error);
  if (!response.ok) throw new Refused(`The server failed (${response.status}); its terminal says why.`);
  return response;
}

/** Sends texts of settings to the server. */
export function send(path, query, views) {
  const headers = { 'content-type': 'application/json' };
  return ask(path, query, { method: 'POST', body: JSON.stringify({ views }), headers });
}

function report(now) {
  if (now === problem) return;
  const was = problem;
  problem = now;
  const banner = document.getElementById('banner');
  banner.hidden = !now;
  document.getElementById('banner-text').textContent = now;
  document.getElementById('banner-form').hidden = now !== LOCKED;
  if (was && !now) connection.dispatchEvent(new Event('back'));
}

async function beat() {
  if (!document.hidden || problem) {
    try {
      await ask('status', '', { signal: AbortSignal.timeout(PATIENCE_MS) });
    } catch { /* the banner says it */ }
  }
  setTimeout(beat, problem ? LOST_BEAT_MS : BEAT_MS);
}

/** Begins to look after the server. */
export function watch() {
  setTimeout(beat, BEAT_MS);
  document.getElementById('banner-form').addEventListener('submit', (event) => {
    event.preventDefault();
    const text = document.getElementById('banner-address').value.trim();
    token = text.match(/[?&]token=([^&#\s]+)/)?.[1] ?? text;
    history.replaceState(null, '', `?token=${encodeURIComponent(token)}${location.hash}`);
    ask('status').catch(() => {});
  });
}
