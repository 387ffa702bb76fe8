// Bookmarks: kept by the browser for this network, downloaded as a latents file, or added to the file of the server.

import { ask, send } from './server.js';
import { bookmark_query, state } from './state.js';

const byId = (id) => document.getElementById(id);

/** Fills the list. info: the answer of the server. say: shows a sentence. attempt: runs a function and shows errors. */
export function start_bookmarks(info, say, attempt) {
  const [network] = info.networks;
  const store = `bookmarks ${network.digest}`;
  const list = byId('bookmark-list');
  let texts = read(store);

  const query_of = (text) => bookmark_query(text, 0, network);
  const save = () => {
    localStorage.setItem(store, JSON.stringify(texts));
    for (const id of ['download', 'keep']) byId(id).disabled = texts.length === 0;
  };

  const add_item = (text) => {
    const item = document.createElement('li');
    const open = document.createElement('button');
    const image = document.createElement('img');
    const drop = document.createElement('button');
    open.type = drop.type = 'button';
    image.alt = image.title = text || 'seed=0';
    image.width = image.height = 64;
    open.append(image);
    open.addEventListener('click', () => {
      state.load(text);
      state.announce(false);
    });
    drop.textContent = '×';
    drop.title = 'Remove this bookmark';
    drop.setAttribute('aria-label', `Remove the bookmark ${text || 'seed=0'}`);
    drop.addEventListener('click', () => {
      texts = texts.filter((other) => other !== text);
      URL.revokeObjectURL(image.src);
      item.remove();
      save();
    });
    item.append(open, drop);
    list.append(item);
    return draw(image, query_of(text));
  };

  byId('bookmark').addEventListener('click', () => {
    const text = state.text();
    if (texts.includes(text)) return;
    texts.push(text);
    save();
    attempt(() => add_item(text));
  });
  byId('download').addEventListener('click', () => attempt(async () => {
    const response = await send('latents.npz', '', texts.map(query_of));
    offer(await response.blob(), 'latents.npz');
  }));
  byId('keep').textContent = `Save to ${info.bookmarks}`;
  byId('keep').addEventListener('click', () => attempt(async () => {
    const { indices } = await (await send('bookmarks', '', texts.map(query_of))).json();
    say(`${info.bookmarks} has these bookmarks as --latents=${info.bookmarks}:${indices.join(',')}`);
  }));
  save();
  attempt(async () => {
    for (const text of texts) await add_item(text);
  });
}

function read(store) {
  try {
    const texts = JSON.parse(localStorage.getItem(store) ?? '[]');
    return Array.isArray(texts) ? texts.filter((text) => typeof text === 'string') : [];
  } catch {
    return [];
  }
}

async function draw(image, query) {
  const response = await ask('image', query, { headers: { 'x-tab': `bookmark ${query.slice(0, 40)}` } });
  if (response.status === 200) image.src = URL.createObjectURL(await response.blob());
}

/** Lets the browser save a file. */
export function offer(blob, name) {
  const link = document.createElement('a');
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}
