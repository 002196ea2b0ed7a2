// A package's model for any page:
//
//     import { Reasoner } from "./reasoner.js";
//     const reasoner = new Reasoner("./package/");
//     const { models } = await reasoner.open();
//     await reasoner.load(models[0].name);
//     const { output, tokens } = await reasoner.ask("Tom has 3 apples. …", (text) => show(text));
//
// It computes in a worker. One request at a time.
import { Problem } from "./problem.js";

/** Milliseconds that a model may take for the token at hand after `stop`. */
const PATIENCE = 5000;
/** Milliseconds for the worker's own files. */
const LONGEST_START = 60_000;

export class Reasoner {
  #base;
  #worker = null;
  #isOpen = false;
  #model = null;
  /** {onMessage, resolve, reject} of the request at hand. */
  #current = null;

  /** @param address of a package's folder, on the page's own server. */
  constructor(address) {
    const base = new URL(address, document.baseURI);
    if (base.origin !== location.origin) throw new Problem(`The package must lie on the page's own server, not on ${base.origin}.`);
    base.search = base.hash = "";
    if (!base.pathname.endsWith("/")) base.pathname += "/";
    this.#base = base.href;
  }

  /** The package: {name, models: [{name, quantization, bytes}]}. */
  async open() {
    await this.#wake();
    const found = await this.#request("open", { base: this.#base });
    this.#isOpen = true;
    return found;
  }

  /** Whether a model is loaded. */
  has(name) {
    return this.#model === name;
  }

  /**
   * Load one of the package's models; the one before it is forgotten, and an answer that it is giving fails as stopped.
   *
   * @param onProgress called with {loaded, total, file}: bytes so far, bytes of all files.
   * @return {isKept}: whether the files are kept for a visit without a network.
   */
  async load(name, onProgress = () => {}) {
    // WebAssembly never gives memory back: another model gets a worker of its own.
    if (this.#model) this.#fail("Stopped.");
    if (!this.#isOpen) await this.open();
    const result = await this.#request("load", { name }, onProgress);
    this.#model = name;
    return result;
  }

  /**
   * The likeliest answer: {question, output, tokens, prompt_tokens, first_token_seconds, seconds, tokens_per_second, is_stopped}.
   *
   * @param onText called with the whole text so far, whenever there is more of it.
   */
  async ask(question, onText = () => {}, { maxNewTokens } = {}) {
    if (!this.#model) throw new Problem("No model is loaded.");
    return this.#request("ask", { question, maxNewTokens }, ({ text, tokens }) => onText(text, tokens));
  }

  /** Stop the request at hand: an answer ends with what there is, anything else fails with a Problem. */
  stop() {
    const request = this.#current;
    if (!request) return;
    this.#worker.postMessage({ kind: "stop" });
    const end = () => this.#current === request && this.#fail("Stopped.");
    if (request.kind === "ask") setTimeout(end, PATIENCE);
    else end();
  }

  async #wake() {
    if (this.#worker) return;
    this.#worker = new Worker(new URL("./worker.js", import.meta.url), { type: "module" });
    this.#worker.onmessage = ({ data }) => this.#hear(data);
    // A model that breaks WebAssembly itself, or a file of the page that is missing.
    this.#worker.onerror = (event) => {
      event.preventDefault();
      this.#fail(`The part of this page that computes has stopped: ${event.message || "one of its files cannot be loaded"}`);
    };
    const timer = setTimeout(() => this.#fail("The files of this page cannot be loaded: the server does not answer."), LONGEST_START);
    await this.#wait("wake").finally(() => clearTimeout(timer));
  }

  #request(kind, content, onMessage) {
    const result = this.#wait(kind, onMessage);
    this.#worker.postMessage({ kind, ...content });
    return result;
  }

  #wait(kind, onMessage) {
    if (this.#current) throw new Problem("One request at a time.");
    return new Promise((resolve, reject) => (this.#current = { kind, onMessage, resolve, reject }));
  }

  #hear({ kind, ...content }) {
    const request = this.#current;
    if (kind === "progress" || kind === "text") return void request?.onMessage?.(content);
    this.#current = null;
    if (kind === "problem") request?.reject(new Problem(content.message));
    else request?.resolve(content.result);
  }

  #fail(message) {
    const request = this.#current;
    this.#end();
    request?.reject(new Problem(message));
  }

  #end() {
    this.#worker?.terminate();
    this.#worker = this.#current = this.#model = null;
    this.#isOpen = false;
  }
}
