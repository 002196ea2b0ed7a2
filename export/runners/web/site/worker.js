// Runs the model beside the page, so that the page stays usable. One request at a time; reasoner.js speaks to it.
import { env } from "./vendor/onnxruntime.js";
import { Model } from "./model.js";
import { Package } from "./package.js";
import { Problem } from "./problem.js";

// More threads would need headers that a plain server does not send.
env.wasm.numThreads = 1;
env.wasm.wasmPaths = {
  mjs: new URL("./vendor/ort-wasm-simd-threaded.mjs", import.meta.url).href,
  wasm: new URL("./vendor/ort-wasm-simd-threaded.wasm", import.meta.url).href,
};

/** Most tokens of an answer, as run.py has it. */
const MAX_NEW_TOKENS = 256;

let found = null;
let model = null;
let isStopped = false;

const actions = {
  async open({ base }) {
    found = await Package.open(base);
    const { name, models } = found;
    return { name, models: models.map((item) => ({ name: item.name, quantization: item.quantization, bytes: item.bytes })) };
  },

  async load({ name }) {
    const parts = await found.read(name, (loaded, total, file) => postMessage({ kind: "progress", loaded, total, file }));
    model = await Model.load(parts, found.contextTokens);
    return { isKept: await found.isKept(name) };
  },

  async ask({ question, maxNewTokens = MAX_NEW_TOKENS }) {
    const begun = performance.now();
    const seconds = () => (performance.now() - begun) / 1000;
    const ids = model.tokenize(question);
    const tokens = [];
    let output = "";
    let firstTokenSeconds = null;
    for await (const token of model.generate(ids, maxNewTokens)) {
      tokens.push(token);
      firstTokenSeconds ??= seconds();
      output = model.detokenize(tokens);
      // A character may need a token more.
      if (!output.endsWith("\ufffd")) postMessage({ kind: "text", text: output, tokens: tokens.length });
      await breath();
      if (isStopped) break;
    }
    const whole = seconds();
    return {
      question,
      output,
      tokens,
      prompt_tokens: ids.length,
      first_token_seconds: firstTokenSeconds ?? whole,
      seconds: whole,
      tokens_per_second: tokens.length / whole,
      is_stopped: isStopped,
    };
  },
};

/** Let messages in: the model's own promises keep them waiting. */
function breath() {
  return new Promise((go) => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => {
      port1.close();
      go();
    };
    port2.postMessage(null);
  });
}

addEventListener("message", async ({ data: { kind, ...request } }) => {
  if (kind === "stop") {
    isStopped = true;
    return;
  }
  isStopped = false;
  try {
    postMessage({ kind: "done", result: await actions[kind](request) });
  } catch (error) {
    const words = error instanceof Problem ? error.message : `The page has stopped: ${error?.message ?? error}`;
    postMessage({ kind: "problem", message: words });
  }
});

postMessage({ kind: "awake" });
