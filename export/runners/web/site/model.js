// A package's model: the same steps as run.py of the runner for onnxruntime, one question at a time and always the likeliest token.
import { Tokenizer } from "./vendor/tokenizers.js";
import { InferenceSession, Tensor } from "./vendor/onnxruntime.js";
import { Problem, numberOf, shortly } from "./problem.js";

/** The prompt of models that do not name one themselves. */
const PROMPT = "Q: {question} A: Let's think step by step.";
/** Most heads of a cache, and most numbers of a head: a graph names any. */
const WIDEST = 65536;

export class Model {
  /**
   * @param parts `config`, `generation`, `tokenizer`: objects of the package's JSON files; `graphs`: {decoder, encoder}, bytes (an encoder
   *   only of encoder-decoder models); `data`: [{path, data}], the files beside the graphs that their weights may lie in.
   * @param contextTokens most tokens of prompt and answer together; null takes what the model was trained with.
   */
  static async load({ config, generation, tokenizer, graphs, data }, contextTokens = null) {
    const model = new Model();
    model.tokenizer = makeTokenizer(tokenizer);
    const ends = [generation.eos_token_id ?? config.eos_token_id ?? []].flat();
    model.ends = new Set(ends.map((end, i) => numberOf({ [`eos_token_id ${i}`]: end }, `eos_token_id ${i}`, 0)));
    model.isPair = Boolean(config.is_encoder_decoder);
    const trained = ["n_positions", "max_position_embeddings"].map((name) => numberOf(config, name, 0));
    model.contextTokens = contextTokens || trained[0] || trained[1] || 512;
    model.prompt = promptOf(config.kpodx_prompt ?? null);
    model.decoder = await openGraph("decoder", graphs.decoder, data);
    model.#readShapes();
    if (!model.isPair) return model;
    model.start = numberOf(config, "decoder_start_token_id", 0) ?? 0;
    model.#checkIds([model.start]);
    model.encoder = await openGraph("encoder", graphs.encoder, data);
    return model;
  }

  #readShapes() {
    const inputs = this.decoder.inputMetadata;
    this.past = inputs.filter((item) => item.name.startsWith("past_key_values."));
    this.hasPositions = inputs.some((item) => item.name === "position_ids");
    this.outputs = [...this.decoder.outputNames];
    const names = inputs.map((item) => item.name);
    if (!this.past.length || !names.includes("input_ids") || !this.outputs.includes("logits"))
      throw new Problem(`The graph is no decoder with a cache: its inputs are ${shortly(names.join(", "), 200)}.`);
    const words = this.decoder.outputMetadata.find((item) => item.name === "logits").shape?.at(-1);
    // A graph need not say how many words it knows.
    this.words = Number.isInteger(words) ? words : 0;
    for (const { name, shape } of this.past)
      if (shape?.length !== 4 || ![shape[1], shape[3]].every((size) => Number.isInteger(size) && size > 0 && size <= WIDEST))
        throw new Problem(`The graph is no decoder with a cache: ${shortly(name)} has the shape ${shortly(shape)}.`);
  }

  /** Token ids of a question in the package's prompt, with the special tokens that the model wants around it. */
  tokenize(question) {
    const { ids } = ofTokenizer(() => this.tokenizer.encode(this.prompt.replaceAll("{question}", () => question)));
    this.#checkIds(ids);
    const most = this.contextTokens - (this.isPair ? 0 : 1);
    if (ids.length > most)
      throw new Problem(`The question is too long: it has ${ids.length} tokens, the context holds ${this.contextTokens}.`);
    return ids;
  }

  /** The text of token ids, without special tokens. */
  detokenize(ids) {
    const options = { skip_special_tokens: true, clean_up_tokenization_spaces: false };
    return ids.length ? ofTokenizer(() => this.tokenizer.decode(ids, options)).trim() : "";
  }

  /** Yield the answer's tokens as they come, up to the end mark, which is not among them. */
  async *generate(ids, maxNewTokens) {
    const limit = Math.min(maxNewTokens, this.contextTokens - (this.isPair ? 0 : ids.length));
    let inputs = await this.#begin(ids);
    let outputs = this.outputs;
    for (let position = 0; position < limit; position += 1) {
      const { logits, ...results } = await run(this.decoder, inputs, outputs);
      const token = likeliest(logits);
      if (this.ends.has(token)) return;
      yield token;
      inputs = this.#advance(inputs, results, token);
      // The cache of the encoder's output comes once and stays.
      outputs = this.outputs.filter((name) => !name.includes(".encoder."));
    }
  }

  async #begin(ids) {
    const inputs = Object.fromEntries(
      this.past.map(({ name, shape }) => [name, new Tensor("float32", new Float32Array(0), [1, shape[1], 0, shape[3]])]),
    );
    const mask = integers(ids.map(() => 1));
    if (!this.isPair) return { ...inputs, ...this.#masks(ids, mask) };
    const { last_hidden_state } = await run(this.encoder, { input_ids: integers(ids), attention_mask: mask }, ["last_hidden_state"]);
    return {
      ...inputs,
      encoder_hidden_states: last_hidden_state,
      encoder_attention_mask: mask,
      input_ids: integers([this.start]),
      use_cache_branch: new Tensor("bool", [false], [1]),
    };
  }

  /** What the decoder reads next: the new token, and the cache. */
  #advance(inputs, results, token) {
    const next = { ...inputs };
    for (const [name, values] of Object.entries(results)) next[name.replaceAll("present", "past_key_values")] = values;
    if (this.isPair) return { ...next, input_ids: integers([token]), use_cache_branch: new Tensor("bool", [true], [1]) };
    return { ...next, ...this.#masks([token], integers(new Array(inputs.attention_mask.dims[1] + 1).fill(1))) };
  }

  #masks(ids, mask) {
    const first = mask.dims[1] - ids.length;
    const positions = this.hasPositions ? { position_ids: integers(ids.map((_, i) => first + i)) } : {};
    return { input_ids: integers(ids), attention_mask: mask, ...positions };
  }

  #checkIds(ids) {
    // A graph of blocks of 4 or 8 bits looks up what it does not have all the same.
    if (!ids.length || ids.some((id) => !Number.isInteger(id) || id < 0)) throw new Problem("The tokenizer makes no tokens of this question.");
    const most = ids.reduce((a, b) => Math.max(a, b));
    if (this.words && most >= this.words)
      throw new Problem(`Token ${most} is none of the model's ${this.words}: the tokenizer is another model's.`);
  }
}

/** The likeliest token of logits [1, tokens, words], at the last position; the first of equals, as NumPy takes it. */
function likeliest(logits) {
  if (logits?.dims.length !== 3 || logits.dims[0] !== 1 || !logits.size || logits.type !== "float32")
    throw new Problem(`The graph's logits are ${logits?.type} of ${shortly(logits?.dims)}, expected float32 of [1, tokens, words].`);
  const row = logits.data.subarray(logits.size - logits.dims[2]);
  let best = 0;
  for (let word = 0; word < row.length; word += 1) {
    if (!(row[word] <= row[best])) best = word;
    if (Number.isNaN(row[word])) break;
  }
  if (!Number.isFinite(row[best])) throw new Problem("The model computes no numbers: its weights are damaged.");
  return best;
}

function promptOf(text) {
  if (text === null) return PROMPT;
  if (typeof text !== "string" || !text.includes("{question}"))
    throw new Problem(`The package's prompt has no {question}: ${shortly(text)}`);
  return text;
}

function integers(values) {
  return new Tensor("int64", BigInt64Array.from(values, BigInt), [1, values.length]);
}

function makeTokenizer(found) {
  if (found.truncation || found.padding) found = { ...found, truncation: null, padding: null };
  // What tokenizer_config.json adds is transformers' own; run.py reads tokenizer.json alone, too.
  return ofTokenizer(() => new Tokenizer(found, {}));
}

function ofTokenizer(action) {
  try {
    return action();
  } catch (error) {
    throw new Problem(`The tokenizer cannot do this: ${shortly(String(error.message ?? error), 200)}`);
  }
}

async function openGraph(what, bytes, data) {
  try {
    return await InferenceSession.create(bytes, { executionProviders: ["wasm"], externalData: data, logSeverityLevel: 4 });
  } catch (error) {
    throw new Problem(`The ${what} cannot be loaded: ${inWords(error)}`);
  }
}

async function run(session, inputs, outputs) {
  try {
    return await session.run(inputs, outputs);
  } catch (error) {
    throw new Problem(`The model stopped: ${inWords(error)}`);
  }
}

/** ONNX Runtime throws bare numbers where its memory ends. */
function inWords(error) {
  return typeof error === "number" ? "there is not enough memory" : shortly(String(error?.message ?? error), 300);
}
