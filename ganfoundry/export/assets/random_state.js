// NumPy's RandomState: the Mersenne Twister MT19937, and normal numbers by the polar method. generate.py draws the
// latent of a seed with it, so a seed is the same picture here and there.

const STATE_SIZE = 624;
const STATE_SHIFT = 397;

class RandomState {
  constructor(seed) {
    this.state = new Uint32Array(STATE_SIZE);
    this.position = STATE_SIZE;
    this.spare = null; // the second number of a pair
    this.state[0] = seed;
    for (let i = 1; i < STATE_SIZE; i++) {
      const last = this.state[i - 1] ^ (this.state[i - 1] >>> 30);
      this.state[i] = Math.imul(1812433253, last) + i;
    }
  }

  twist() {
    const state = this.state;
    for (let i = 0; i < STATE_SIZE; i++) {
      const y = (state[i] & 0x80000000) | (state[(i + 1) % STATE_SIZE] & 0x7fffffff);
      state[i] = state[(i + STATE_SHIFT) % STATE_SIZE] ^ (y >>> 1) ^ (y & 1 ? 0x9908b0df : 0);
    }
    this.position = 0;
  }

  // Returns a whole number of 32 bits.
  next() {
    if (this.position === STATE_SIZE) this.twist();
    let y = this.state[this.position++];
    y ^= y >>> 11;
    y ^= (y << 7) & 0x9d2c5680;
    y ^= (y << 15) & 0xefc60000;
    return (y ^ (y >>> 18)) >>> 0;
  }

  // Returns a number in [0, 1) of 53 bits.
  uniform() {
    const high = this.next() >>> 5;
    const low = this.next() >>> 6;
    return (high * 67108864 + low) / 9007199254740992;
  }

  // Returns a standard normal number.
  normal() {
    if (this.spare !== null) {
      const spare = this.spare;
      this.spare = null;
      return spare;
    }
    let x, y, square;
    do {
      x = 2 * this.uniform() - 1;
      y = 2 * this.uniform() - 1;
      square = x * x + y * y;
    } while (square >= 1 || square === 0);
    const factor = Math.sqrt((-2 * Math.log(square)) / square);
    this.spare = factor * x;
    return factor * y;
  }
}

// Returns RandomState(seed).randn(count) as float32.
function normals(seed, count) {
  const random = new RandomState(seed);
  return Float32Array.from({ length: count }, () => random.normal());
}
