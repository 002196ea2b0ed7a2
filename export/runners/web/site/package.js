// A package on the page's own server: what it holds, its files one by one, checked, and kept for the next visit.
import { Problem, isObject, numberOf, shortly } from "./problem.js";
import { sha256 } from "./sha256.js";

/** Name of what is kept: files by their address and hash. */
const KEPT = "kpodx-packages";
/** Bytes of the largest JSON file that a package may hold, as run.py has it. */
const MOST_JSON = 2 ** 28;
/** Bytes of all files of a model: WebAssembly has 4 GiB for them and for what is computed. */
const MOST_MODEL = 2 ** 31;
/** Milliseconds without a byte after which a server counts as gone. */
const PATIENCE = 30_000;
const GRAPH = /^(?<folder>(?:[^/]+\/)*)(?<stem>decoder_model_merged|model)(?<suffix>[^/]*)\.onnx$/;

export class Package {
  /**
   * Read a package's manifest, the newest that can be had.
   *
   * @param base address of its folder, absolute, on the page's own server, with a slash at its end.
   */
  static async open(base) {
    const address = new URL("package.json", base).href;
    const kept = await openKept();
    let bytes;
    try {
      bytes = await download(address, null, () => {});
      await keep(kept, address, bytes);
    } catch (problem) {
      const old = await kept?.match(address);
      if (!old || !problem.isOffline) throw problem;
      bytes = new Uint8Array(await old.arrayBuffer());
    }
    const found = new Package(base, parseJson(bytes, "package.json"), kept);
    await found.#forgetOthers();
    return found;
  }

  constructor(base, manifest, kept) {
    this.base = base;
    this.kept = kept;
    if (manifest.kind !== "onnx")
      throw new Problem(`The package is of the kind ${shortly(manifest.kind ?? "unknown")}, and this page runs onnx: kpodx export --profile browser`);
    this.files = filesOf(manifest);
    this.name = typeof manifest.name === "string" ? manifest.name : "a package without a name";
    this.contextTokens = isObject(manifest.profile) ? numberOf(manifest.profile, "context_tokens", 1) : null;
    this.models = modelsOf(manifest, this.files);
  }

  /**
   * The parts that `Model.load` wants.
   *
   * @param name of one of `models`.
   * @param onProgress called with (bytes so far, bytes of all files, the file's name).
   */
  async read(name, onProgress) {
    const model = this.models.find((item) => item.name === name);
    if (!model) throw new Problem(`The package has no model ${shortly(name)}.`);
    let done = 0;
    const get = async (file) => {
      const bytes = await this.#file(file, (so) => onProgress(done + so, model.bytes, file));
      done += bytes.length;
      return bytes;
    };
    const json = async (file) => parseJson(await get(file), file);
    const config = await json("config.json");
    const isPair = Boolean(config.is_encoder_decoder);
    if (isPair !== Boolean(model.encoder)) throw new Problem(`${name} is not what config.json says that the model is.`);
    const parts = { config, tokenizer: await json("tokenizer.json"), generation: {}, graphs: {}, data: [] };
    if (this.files.has("generation_config.json")) parts.generation = await json("generation_config.json");
    for (const file of model.data) parts.data.push({ path: file.split("/").at(-1), data: await get(file) });
    if (isPair) parts.graphs.encoder = await get(model.encoder);
    parts.graphs.decoder = await get(name);
    return parts;
  }

  /** A file's bytes, which have its hash. */
  async #file(name, onProgress) {
    const expected = this.files.get(name);
    const key = this.#key(name);
    const old = await this.kept?.match(key);
    const bytes = old ? new Uint8Array(await old.arrayBuffer()) : await download(new URL(name, this.base).href, expected.size, onProgress);
    const found = await sha256(bytes);
    if (found !== expected.sha256) {
      await this.kept?.delete(key);
      throw new Problem(
        `${name} is not the file that the package lists: its SHA-256 is ${found.slice(0, 12)}…, expected ${expected.sha256.slice(0, 12)}…. Copy the package again.`,
      );
    }
    onProgress(bytes.length);
    if (!old) await keep(this.kept, key, bytes);
    return bytes;
  }

  /** Whether all files of a model are kept for a visit without a network. */
  async isKept(name) {
    const { own } = this.models.find((item) => item.name === name);
    const keys = [new URL("package.json", this.base).href, ...own.map((file) => this.#key(file))];
    const found = await Promise.all(keys.map((key) => this.kept?.match(key)));
    return found.every(Boolean);
  }

  #key(name) {
    return `${new URL(name, this.base).href}?sha256=${this.files.get(name).sha256}`;
  }

  /** Forget files that this package had before it was made again. */
  async #forgetOthers() {
    const wanted = new Set([...this.files.keys()].map((name) => this.#key(name)));
    for (const { url } of (await this.kept?.keys()) ?? [])
      if (url.startsWith(this.base) && url.includes("?sha256=") && !wanted.has(url)) await this.kept.delete(url);
  }
}

/** Where files are kept; null where the browser keeps nothing: over plain HTTP from another machine, or in a private window. */
async function openKept() {
  try {
    return await globalThis.caches?.open(KEPT);
  } catch {
    return null;
  }
}

async function keep(kept, key, bytes) {
  try {
    await kept?.put(key, new Response(bytes));
  } catch {
    // The browser gives this page no more room: all works but the next visit without a network, which must not find an older file.
    await kept.delete(key).catch(() => {});
  }
}

function filesOf(manifest) {
  if (!isObject(manifest.files)) throw new Problem("package.json lists no files.");
  const files = new Map();
  for (const [name, file] of Object.entries(manifest.files)) {
    // An address could lead elsewhere in more ways than a path can.
    if (!/^[\w.-]+(?:\/[\w.-]+)*$/.test(name) || name.split("/").includes(".."))
      throw new Problem(`package.json lists a file outside the package: ${shortly(name)}`);
    if (!isObject(file) || !/^[0-9a-f]{64}$/.test(file.sha256) || numberOf(file, "size", 0, MOST_MODEL) === null)
      throw new Problem(`package.json lists ${shortly(name)} without its size and hash.`);
    files.set(name, { size: file.size, sha256: file.sha256 });
  }
  return files;
}

function modelsOf(manifest, files) {
  const listed = Array.isArray(manifest.models) ? manifest.models.filter(isObject) : [];
  if (!listed.length) throw new Problem("package.json names no models.");
  return listed.map(({ name, quantization }) => {
    const parts = typeof name === "string" ? GRAPH.exec(name)?.groups : null;
    if (!parts) throw new Problem(`package.json names a model that this page cannot run: ${shortly(name)}`);
    const stems = parts.stem === "model" ? ["model"] : ["encoder_model", "decoder_model_merged"];
    const [first] = stems.map((stem) => `${parts.folder}${stem}${parts.suffix}.onnx`);
    const data = stems.map((stem) => `${parts.folder}${stem}${parts.suffix}.onnx_data`).filter((file) => files.has(file));
    const json = ["config.json", "tokenizer.json", "generation_config.json"];
    const own = [...json.filter((file) => file !== json[2] || files.has(file)), ...data, ...new Set([first, name])];
    for (const file of own) if (!files.has(file)) throw new Problem(`package.json lists no file ${shortly(file)}, which ${name} needs.`);
    const bytes = own.reduce((sum, file) => sum + files.get(file).size, 0);
    if (bytes > MOST_MODEL) throw new Problem(`${name} has ${bytes} bytes, more than a browser can run.`);
    return { name, quantization: String(quantization), bytes, data, own, encoder: first === name ? null : first };
  });
}

function parseJson(bytes, name) {
  if (bytes.length > MOST_JSON) throw new Problem(`${name} has more than ${MOST_JSON} bytes.`);
  let found;
  try {
    found = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch (error) {
    throw new Problem(`${name} is not JSON: ${shortly(error.message, 120)}`);
  }
  if (!isObject(found)) throw new Problem(`${name} holds no object.`);
  return found;
}

/**
 * The bytes of a file on the page's own server.
 *
 * @param size expected bytes; null where any number up to `MOST_JSON` will do.
 */
async function download(address, size, onProgress) {
  const name = new URL(address).pathname.split("/").at(-1);
  const giveUp = new AbortController();
  let timer = setTimeout(() => giveUp.abort(), PATIENCE);
  try {
    // A redirect could lead to another server.
    const reply = await fetch(address, { mode: "same-origin", redirect: "error", cache: "no-cache", signal: giveUp.signal });
    if (!reply.ok) throw new Problem(`There is no ${address} (the server says ${reply.status}).`);
    let bytes = new Uint8Array(size ?? 2 ** 16);
    let length = 0;
    for (const reader = reply.body.getReader(); ; ) {
      const { done, value } = await reader.read();
      if (done) break;
      clearTimeout(timer);
      timer = setTimeout(() => giveUp.abort(), PATIENCE);
      if (length + value.length > (size ?? MOST_JSON)) throw new Problem(`${name} is longer than the ${size ?? MOST_JSON} bytes that it should have.`);
      while (length + value.length > bytes.length) bytes = joined(bytes, new Uint8Array(bytes.length));
      bytes.set(value, length);
      length += value.length;
      onProgress(length);
    }
    if (size !== null && length !== size) throw new Problem(`${name} is cut short: ${length} of ${size} bytes. Copy the package again.`);
    return bytes.subarray(0, length);
  } catch (error) {
    if (error instanceof Problem) throw error;
    if (giveUp.signal.aborted) throw offline(`The server has sent nothing of ${name} for ${PATIENCE / 1000} seconds.`);
    throw offline(`${name} cannot be loaded: the server does not answer, or breaks off (${shortly(error.message)}).`);
  } finally {
    clearTimeout(timer);
    giveUp.abort();
  }
}

function offline(message) {
  return Object.assign(new Problem(message), { isOffline: true });
}

function joined(first, second) {
  const bytes = new Uint8Array(first.length + second.length);
  bytes.set(first);
  bytes.set(second, first.length);
  return bytes;
}
