// Puts the page together: site/, and what it needs of node_modules. `npm ci --ignore-scripts && npm run build` writes dist/.
import { createHash } from "node:crypto";
import { cpSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";

const here = path.dirname(fileURLToPath(import.meta.url));
const output = path.resolve(process.argv[2] ?? path.join(here, "dist"));
const modules = path.join(here, "node_modules");
const VENDORED = {
  "onnxruntime.js": "onnxruntime-web/dist/ort.wasm.min.mjs",
  "ort-wasm-simd-threaded.mjs": "onnxruntime-web/dist/ort-wasm-simd-threaded.mjs",
  "ort-wasm-simd-threaded.wasm": "onnxruntime-web/dist/ort-wasm-simd-threaded.wasm",
  "tokenizers.js": "@huggingface/tokenizers/dist/tokenizers.min.mjs",
  "tokenizers-LICENSE": "@huggingface/tokenizers/LICENSE",
};

rmSync(output, { recursive: true, force: true });
cpSync(path.join(here, "site"), output, { recursive: true });
mkdirSync(path.join(output, "vendor"));
for (const [name, source] of Object.entries(VENDORED)) cpSync(path.join(modules, source), path.join(output, "vendor", name));

// A new version of any file makes the service worker fetch them all again.
const files = readdirSync(output, { recursive: true, withFileTypes: true })
  .filter((entry) => entry.isFile())
  .map((entry) => path.relative(output, path.join(entry.parentPath ?? entry.path, entry.name)).split(path.sep).join("/"))
  .filter((name) => name !== "service_worker.js" && !name.endsWith("LICENSE"))
  .sort();
const version = createHash("sha256");
for (const name of files) version.update(`${name}\0`).update(readFileSync(path.join(output, name)));
const shell = { version: version.digest("hex").slice(0, 16), files: ["./", ...files] };
writeFileSync(path.join(output, "shell.js"), `self.SHELL = ${JSON.stringify(shell)};\n`);
