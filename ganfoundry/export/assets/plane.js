// The plane of latents that three seeds span. A position (x, y) of its square, both from 0 to 1, has three weights that
// sum to 1; each is 1 at its own seed's corner of a triangle and 0 on the opposite side, so outside it some are negative.

const CORNERS = [[0.5, 0.15], [0.15, 0.8], [0.85, 0.8]];

function weightsAt([x, y]) {
  const [[ax, ay], [bx, by], [cx, cy]] = CORNERS;
  const area = (bx - ax) * (cy - ay) - (cx - ax) * (by - ay);
  const b = ((x - ax) * (cy - ay) - (cx - ax) * (y - ay)) / area;
  const c = ((bx - ax) * (y - ay) - (x - ax) * (by - ay)) / area;
  return [1 - b - c, b, c];
}

// Returns the weighted sum of latents, set to the weighted sum of their lengths: a mean of normal latents would be
// shorter than any of them, and networks are trained on the lengths of normal latents.
function blendLatents(latents, weights) {
  const sum = new Float64Array(latents[0].length);
  let wanted = 0;
  latents.forEach((latent, k) => {
    latent.forEach((value, i) => { sum[i] += weights[k] * value; });
    wanted += weights[k] * Math.hypot(...latent);
  });
  const scale = wanted / Math.hypot(...sum);
  return Float32Array.from(sum, (value) => value * scale);
}
