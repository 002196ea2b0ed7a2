// Greedy answers of transformers.js from a package's folder; other_software.py runs it.
//
// A request comes on stdin; one JSON document goes to stdout. With `web`, the build that browsers get reads the same files over
// HTTP and runs them in WebAssembly, with Node in place of the browser.
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { createRequire } from "node:module";
import path from "node:path";
import { pathToFileURL } from "node:url";

const request = JSON.parse(readFileSync(0, "utf8"));
const parent = path.dirname(request.folder);
const name = path.basename(request.folder);

try {
  process.stdout.write(JSON.stringify(await answer()), () => process.exit(0));
} catch (error) {
  // Node would print the line of a minified library, a megabyte long, before the message.
  process.stderr.write(`${error.name}: ${error.message}\n`, () => process.exit(1));
}

async function answer() {
  const library = request.web ? await loadWeb() : loadNode();
  const tokenizer = await library.AutoTokenizer.from_pretrained(name);
  const kind = request.is_pair ? library.AutoModelForSeq2SeqLM : library.AutoModelForCausalLM;
  const model = await kind.from_pretrained(name, options());
  const prompts = [];
  const answers = [];
  for (const prompt of request.prompts) {
    const inputs = tokenizer(prompt);
    const output = await model.generate({ ...inputs, max_new_tokens: request.max_new_tokens, do_sample: false });
    prompts.push(inputs.input_ids.tolist()[0].map(Number));
    answers.push(output.tolist()[0].map(Number).slice(request.is_pair ? 1 : inputs.input_ids.dims[1]));
  }
  return { prompts, answers };
}

function options() {
  if (!request.web) return { dtype: request.dtype, session_options: { intraOpNumThreads: 1 } };
  // Under Node a graph is opened by its path and finds its data itself. A browser must be told which file holds them:
  // `path` as the graph calls it, `data` relative to the model's folder. `use_external_data_format` would look for a second file.
  const externalData = request.data.map((file) => ({ path: file, data: `onnx/${file}` }));
  return { device: "wasm", dtype: request.dtype, ...(externalData.length ? { session_options: { externalData } } : {}) };
}

function loadNode() {
  const loaded = createRequire(path.join(request.modules, "any.js"))("@huggingface/transformers");
  loaded.env.allowRemoteModels = false;
  loaded.env.localModelPath = parent;
  return loaded;
}

async function loadWeb() {
  const server = createServer((asked, reply) => {
    try {
      const content = readFileSync(path.join(parent, decodeURIComponent(asked.url)));
      reply.writeHead(200, { "content-length": content.length });
      reply.end(content);
    } catch {
      reply.writeHead(404).end();
    }
  });
  await new Promise((ready) => server.listen(0, "127.0.0.1", ready));
  // By this the library knows Node, where it would look for onnxruntime-node.
  Object.defineProperty(process, "release", { value: { name: "" } });
  const at = (...parts) => path.join(request.modules, ...parts);
  const loaded = await import(pathToFileURL(at("@huggingface/transformers", "dist", "transformers.web.js")));
  Object.assign(loaded.env, { allowLocalModels: false, useBrowserCache: false, useWasmCache: false });
  loaded.env.remoteHost = `http://127.0.0.1:${server.address().port}/`;
  loaded.env.remotePathTemplate = "{model}/";
  const runtime = at("onnxruntime-web", "dist", "ort-wasm-simd-threaded.asyncify");
  Object.assign(loaded.env.backends.onnx.wasm, {
    numThreads: 1,
    wasmBinary: readFileSync(`${runtime}.wasm`),
    wasmPaths: { mjs: pathToFileURL(`${runtime}.mjs`).href },
  });
  return loaded;
}
