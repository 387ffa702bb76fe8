// Pictures: from the network's numbers [C, H, W], nominally in [-1, 1], to pixels, to a canvas, and to a PNG.

const PNG_COLOR_TYPES = { 1: 0, 2: 4, 3: 2, 4: 6 }; // gray, gray with alpha, RGB, RGBA

// Returns pixels [H, W, channels] of 8 or 16 bits, truncated as generate.py does; of more than four channels the first
// three.
function toPixels(numbers, [channels, height, width], bits) {
  const kept = channels > 4 ? 3 : channels;
  const scale = bits === 8 ? 127.5 : 32767.5;
  const pixels = bits === 8 ? new Uint8ClampedArray(kept * height * width) : new Uint16Array(kept * height * width);
  for (let channel = 0; channel < kept; channel++) {
    for (let i = 0; i < height * width; i++) {
      const value = Math.fround(Math.fround(numbers[channel * height * width + i] * scale) + (scale + 0.5));
      pixels[i * kept + channel] = Math.floor(Math.min(Math.max(value, 0), 2 ** bits - 1));
    }
  }
  return { pixels, channels: kept, height, width, bits };
}

// Draws a picture on a canvas of its size.
function show(canvas, { pixels, channels, height, width, bits }) {
  const image = new ImageData(width, height);
  const hasColor = channels > 2;
  const hasAlpha = channels % 2 === 0;
  for (let i = 0; i < height * width; i++) {
    for (let channel = 0; channel < 4; channel++) {
      let value = 255;
      if (channel < 3 || hasAlpha) {
        const source = channel === 3 ? channels - 1 : hasColor ? channel : 0;
        value = pixels[i * channels + source];
        if (bits === 16) value = Math.floor((value + 128) / 257);
      }
      image.data[4 * i + channel] = value;
    }
  }
  canvas.classList.toggle('alpha', hasAlpha);
  canvas.width = width;
  canvas.height = height;
  canvas.getContext('2d', { willReadFrequently: true }).putImageData(image, 0, 0);
}

// Returns the bytes of a PNG, with text chunks by keyword. A canvas would write no text, and round colors under alpha.
async function encodePng({ pixels, channels, height, width, bits }, texts) {
  const row = (width * channels * bits) / 8;
  const lines = new Uint8Array(height * (row + 1)); // each line begins with the number of its filter, 0
  const view = new DataView(lines.buffer);
  for (let i = 0; i < pixels.length; i++) {
    const line = Math.floor(i / (width * channels));
    const start = line * (row + 1) + 1 + ((i % (width * channels)) * bits) / 8;
    if (bits === 8) lines[start] = pixels[i];
    else view.setUint16(start, pixels[i]);
  }
  const header = new DataView(new ArrayBuffer(13));
  header.setUint32(0, width);
  header.setUint32(4, height);
  header.setUint8(8, bits);
  header.setUint8(9, PNG_COLOR_TYPES[channels]);
  const packed = new Blob([lines]).stream().pipeThrough(new CompressionStream('deflate'));
  return new Blob([
    Uint8Array.of(0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a),
    chunk('IHDR', new Uint8Array(header.buffer)),
    ...Object.entries(texts).map(([keyword, text]) => chunk('iTXt', utf8(`${keyword}\0\0\0\0\0${text}`))),
    chunk('IDAT', new Uint8Array(await new Response(packed).arrayBuffer())),
    chunk('IEND', new Uint8Array(0)),
  ], { type: 'image/png' });
}

function utf8(text) {
  return new TextEncoder().encode(text);
}

// Returns a chunk of a PNG: length, kind, data, and the CRC of kind and data.
function chunk(kind, data) {
  const bytes = new Uint8Array(data.length + 12);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, data.length);
  bytes.set(utf8(kind), 4);
  bytes.set(data, 8);
  view.setUint32(data.length + 8, crc32(bytes.subarray(4, data.length + 8)));
  return bytes;
}

function crc32(bytes) {
  let crc = ~0;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0);
  }
  return ~crc >>> 0;
}
