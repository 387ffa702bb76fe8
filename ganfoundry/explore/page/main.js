// The page: pictures first, then the controls that the networks have.

import { offer, start_bookmarks } from './bookmarks.js';
import { fill_controls, start_controls } from './controls.js';
import { Picture } from './picture.js';
import { start_plane } from './plane.js';
import { ask, connection, Gone, Refused, send, watch } from './server.js';

const LARGE = 512; // side of a picture in pixels of the screen
const SMALL = 384; // of each of two
const byId = (id) => document.getElementById(id);

function say(text) {
  byId('message').textContent = text;
}

/** Runs a function, and shows the sentence with which the server refuses it. */
async function attempt(work) {
  try {
    say('');
    await work();
  } catch (error) {
    if (error instanceof Refused) say(error.message);
    else if (!(error instanceof Gone)) throw error;
  }
}

async function copy_command(picture) {
  const response = await send('command', `side=${picture.side}`, [picture.query]);
  const { command } = await response.json();
  byId('command-box').hidden = false;
  byId('command').value = command;
  byId('command').select();
  try {
    await navigator.clipboard.writeText(command);
    say('The command is copied.');
  } catch {
    say('The browser does not let this page copy; the command is selected.');
  }
}

async function show_nearest(picture) {
  say('looking through the training images …');
  const found = await (await ask('nearest', `side=${picture.side}&${picture.query}`)).json();
  const image = await (await ask('training', `side=${picture.side}&index=${found.index}`)).blob();
  byId('nearest').hidden = false;
  byId('nearest-image').src = URL.createObjectURL(image);
  byId('nearest-image').style.width = picture.image.style.width;
  byId('nearest-image').classList.toggle('pixels', picture.image.classList.contains('pixels'));
  byId('nearest-text').textContent = `Nearest of ${found.num_images} training images by ${found.detector}: number ` +
    `${found.index}, at ${found.ratio.toFixed(2)} times the distance to its own nearest neighbor.`;
  say('');
}

async function save_png(picture) {
  const response = await ask('image', `side=${picture.side}&${picture.query}`);
  if (response.status === 200) offer(await response.blob(), `view${picture.side || ''}.png`);
}

const TOOLS = [
  ['Copy command', copy_command],
  ['Save PNG', save_png],
  ['Nearest training image', show_nearest],
];

/** Adds the buttons of a picture. title: name of its network; empty if there is one picture. */
function add_tools(picture, title) {
  const row = document.createElement('div');
  const name = document.createElement('strong');
  name.textContent = title;
  row.append(name);
  for (const [text, work] of TOOLS) {
    const button = document.createElement('button');
    button.type = 'button';
    button.textContent = text;
    button.addEventListener('click', () => attempt(() => work(picture)));
    row.append(button);
  }
  byId('tools').append(row);
}

async function begin() {
  start_controls();
  start_plane();
  const pictures = [new Picture(0, byId('sides'))];
  pictures[0].want(false); // before the facts are there: the first picture comes sooner
  watch();
  const info = await (await ask('info')).json();
  const two = info.networks.length > 1;
  if (two) pictures.push(new Picture(1, byId('sides')));
  info.networks.forEach((network, side) => {
    pictures[side].fit(network, two ? SMALL : LARGE);
    add_tools(pictures[side], two ? network.name : '');
  });
  byId('title').textContent = info.networks.map((network) => network.name).join(' | ');
  byId('facts').textContent = info.networks.map((network) => `${network.cfg}: ${network.images}`).join(' | ');
  document.title = `${info.networks[0].name} - explorer`;
  fill_controls(info);
  start_bookmarks(info, say, attempt);
  const digests = info.networks.map((network) => network.digest).join();
  connection.addEventListener('back', () => attempt(async () => {
    const now = await (await ask('info')).json();
    if (now.networks.map((network) => network.digest).join() !== digests) location.reload();
  }));
  document.body.dataset.ready = 'yes';
}

function begin_again() {
  attempt(begin).then(() => {
    if (!document.body.dataset.ready) connection.addEventListener('back', () => location.reload(), { once: true });
  });
}

begin_again();
