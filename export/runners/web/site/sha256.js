// SHA-256 (FIPS 180-4) for pages that come over plain HTTP from another machine: browsers keep theirs from those.

const ROUNDS = new Uint32Array(64);
const START = new Uint32Array(8);

for (let number = 2, found = 0; found < 64; number += 1) {
  let isPrime = true;
  for (let divisor = 2; divisor * divisor <= number; divisor += 1) isPrime &&= number % divisor !== 0;
  if (!isPrime) continue;
  ROUNDS[found] = fraction(Math.cbrt(number));
  if (found < 8) START[found] = fraction(Math.sqrt(number));
  found += 1;
}

/** The first 32 bits behind the point. */
function fraction(root) {
  return (root - Math.floor(root)) * 2 ** 32;
}

/** The digest of bytes, in lower-case hexadecimal digits. */
export async function sha256(bytes) {
  const digest = globalThis.crypto?.subtle ? new Uint8Array(await crypto.subtle.digest("SHA-256", bytes)) : sha256InScript(bytes);
  return [...digest].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

export function sha256InScript(bytes) {
  const state = START.slice();
  const whole = bytes.length - (bytes.length % 64);
  for (let at = 0; at < whole; at += 64) addBlock(state, new DataView(bytes.buffer, bytes.byteOffset + at, 64));
  const rest = bytes.subarray(whole);
  const last = new Uint8Array(rest.length < 56 ? 64 : 128);
  last.set(rest);
  last[rest.length] = 0x80;
  new DataView(last.buffer).setBigUint64(last.length - 8, BigInt(bytes.length) * 8n);
  for (let at = 0; at < last.length; at += 64) addBlock(state, new DataView(last.buffer, at, 64));
  const digest = new DataView(new ArrayBuffer(32));
  state.forEach((word, i) => digest.setUint32(4 * i, word));
  return new Uint8Array(digest.buffer);
}

const schedule = new Uint32Array(64);

function addBlock(state, block) {
  for (let i = 0; i < 16; i += 1) schedule[i] = block.getUint32(4 * i);
  for (let i = 16; i < 64; i += 1) {
    const [before, last] = [schedule[i - 15], schedule[i - 2]];
    const small = turn(before, 7) ^ turn(before, 18) ^ (before >>> 3);
    const large = turn(last, 17) ^ turn(last, 19) ^ (last >>> 10);
    schedule[i] = schedule[i - 16] + small + schedule[i - 7] + large;
  }
  let [a, b, c, d, e, f, g, h] = state;
  for (let i = 0; i < 64; i += 1) {
    const chosen = (e & f) ^ (~e & g);
    const most = (a & b) ^ (a & c) ^ (b & c);
    const first = (h + (turn(e, 6) ^ turn(e, 11) ^ turn(e, 25)) + chosen + ROUNDS[i] + schedule[i]) | 0;
    const second = ((turn(a, 2) ^ turn(a, 13) ^ turn(a, 22)) + most) | 0;
    [h, g, f, e, d, c, b, a] = [g, f, e, (d + first) | 0, c, b, a, (first + second) | 0];
  }
  [a, b, c, d, e, f, g, h].forEach((word, i) => (state[i] += word));
}

function turn(word, by) {
  return (word >>> by) | (word << (32 - by));
}
