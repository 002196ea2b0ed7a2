#!/usr/bin/env python3
"""Ask a reasoner that kpodx exported to ONNX. Needs onnxruntime, tokenizers and numpy, and nothing else: no torch, no kpodx.

    python run.py "Tom has 3 boxes of 12 eggs and breaks 5. How many eggs are left?"
    python run.py --model onnx/decoder_model_merged_q4.onnx --questions questions.jsonl > answers.jsonl

One JSON line an answer: the question, the output, its token ids, and timings. A questions file has one question a line, as plain
text or as {"question": "…"}; what else such an object holds comes back unchanged. Without a question, they are read from stdin.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from pathlib import Path

try:
    import numpy as np
    import onnxruntime
    from tokenizers import Tokenizer
except ImportError as error:
    sys.exit(f"run.py needs onnxruntime, tokenizers and numpy: pip install onnxruntime tokenizers numpy ({error})")

# In a package the shared modules are beside run.py; where kpodx keeps them, they are one folder above. First in the path, so that no
# module of the same name elsewhere is run in their place.
if not Path(__file__).resolve().with_name("command_line.py").is_file():
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from command_line import (
    MOST_JSON,
    RunnerError,
    check_file,
    check_lengths,
    main,
    number_of,
    prompt_of,
    read_json,
)
from machine import MOST_CONTEXT, bounded_threads, lack_of_memory
from outside_json import JsonError
from outside_json import read as read_outside

WIDEST = 65536
"""Most heads of a cache, and most numbers of a head: a graph names any."""


class Model:
    """The graphs of a package, decoder-only or encoder-decoder; a context manager, as the models of other runners are.

    Args:
        path: the decoder's graph, in the folder onnx/ of a package.
        threads: CPU threads; None takes half of the machine's.
        context_tokens: most tokens of prompt and answer together; None takes what the model was trained with.
    """

    def __init__(self, path, threads=None, context_tokens=None):
        begun = time.perf_counter()
        path = Path(path)
        if not path.is_file():
            # Also a link that leads to itself, which cannot be resolved below.
            raise RunnerError(f"there is no file {path}")
        folder = path.resolve().parent.parent
        config = read_json(folder / "config.json")
        generation = folder / "generation_config.json"
        generation = read_json(generation) if generation.exists() else {}
        self._tokenizer = _tokenizer(folder / "tokenizer.json")
        end = generation.get("eos_token_id", config.get("eos_token_id"))
        ends = enumerate(end if isinstance(end, list) else [end])
        self._ends = frozenset(number_of({f"eos_token_id {i}": end}, f"eos_token_id {i}", 0) for i, end in ends)
        # Some models name no token here, or -1: what is filled in is never looked at.
        self._pad = max(0, number_of(config, "pad_token_id", -1) or 0)
        self.is_pair = bool(config.get("is_encoder_decoder"))
        trained = [number_of(config, name, 0) for name in ("n_positions", "max_position_embeddings")]
        self.context_tokens = min(context_tokens or trained[0] or trained[1] or 512, MOST_CONTEXT)
        self.prompt = prompt_of(config.get("kpodx_prompt"))
        threads = bounded_threads(threads)
        self._decoder = _session(path, threads)
        shapes = {item.name: item.shape for item in self._decoder.get_inputs()}
        self._past = {name: shape for name, shape in shapes.items() if name.startswith("past_key_values.")}
        self._has_positions = "position_ids" in shapes
        found = {item.name: item.shape for item in self._decoder.get_outputs()}
        self._outputs = list(found)
        if not self._past or "input_ids" not in shapes or "logits" not in self._outputs:
            raise RunnerError(f"{path} is no decoder with a cache: its inputs are {', '.join(shapes)[:200]}")
        # A graph need not say how many words it knows.
        self._words = found["logits"][-1] if found["logits"] and isinstance(found["logits"][-1], int) else 0
        for name, shape in self._past.items():
            if len(shape) != 4 or not all(
                isinstance(size, int) and 0 < size <= WIDEST for size in (shape[1], shape[3])
            ):
                raise RunnerError(f"{path} is no decoder with a cache: {name} has the shape {str(shape)[:60]}")
        if self.is_pair:
            self._start = number_of(config, "decoder_start_token_id", 0) or 0
            self._check_ids([self._start])
            self._encoder = _session(
                path.with_name(path.name.replace("decoder_model_merged", "encoder_model")), threads
            )
        self.load_seconds = time.perf_counter() - begun

    def __enter__(self):
        return self

    def __exit__(self, *_exception):
        self._decoder = self._encoder = None

    def tokenize(self, text):
        """Token ids of a text, with the special tokens that the model wants around it."""
        return _of_tokenizers(self._tokenizer.encode, text).ids

    def detokenize(self, ids):
        """The text of token ids, without special tokens."""
        return _of_tokenizers(self._tokenizer.decode, ids).strip()

    def generate(self, prompts, max_new_tokens, choose):
        """Yield (row, token) of each answer as tokens come, up to the end mark, which is not among them.

        Args:
            prompts: token ids, one list a row.
            max_new_tokens: longest answer.
            choose: the next token of (row, logits [vocabulary]), None where the row's answer ends there.
        """
        check_lengths(prompts, self.context_tokens - (not self.is_pair), self.context_tokens)
        self._check_memory(len(prompts), max(map(len, prompts)), max_new_tokens)
        rows = list(range(len(prompts)))
        limits = [min(max_new_tokens, self.context_tokens - (0 if self.is_pair else len(ids))) for ids in prompts]
        inputs = self._begin(prompts)
        outputs = self._outputs
        for position in range(max_new_tokens):
            results = dict(zip(outputs, self._run(self._decoder, outputs, inputs), strict=True))
            logits, tokens, staying = results.pop("logits"), [], []
            if logits.ndim != 3 or logits.dtype.kind != "f" or len(logits) != len(rows) or not logits.size:
                raise RunnerError(f"the graph's logits are {logits.dtype} of {logits.shape}, expected [rows, 1, words]")
            for place, row in enumerate(rows):
                token = choose(row, logits[place, -1])
                if token is None or token in self._ends:
                    continue
                yield row, token
                if position + 1 < limits[row]:
                    staying.append(place)
                    tokens.append(token)
            if not staying:
                return
            inputs = self._advance(inputs, results, tokens, staying)
            rows = [rows[place] for place in staying]
            # The cache of the encoder's output comes once and stays.
            outputs = [name for name in self._outputs if ".encoder." not in name]

    def logits(self, prompt, answer):
        """Logits [len(answer), vocabulary] of each token of an answer, given the prompt and what stands before it."""
        inputs = self._begin([prompt])
        given = answer[:-1]
        if self.is_pair:
            inputs["input_ids"] = np.array([[self._start, *given]], np.int64)
        else:
            inputs |= self._masks(
                np.array([[*prompt, *given]], np.int64), np.ones((1, len(prompt) + len(given)), np.int64)
            )
        return self._run(self._decoder, ["logits"], inputs)[0][0, -len(answer) :]

    def _begin(self, prompts):
        """What the decoder reads before its first token; shorter prompts are filled up, where the model does not look."""
        for prompt in prompts:
            self._check_ids(prompt)
        width, count = max(map(len, prompts)), len(prompts)
        ids, mask = np.full((count, width), self._pad, np.int64), np.zeros((count, width), np.int64)
        for row, prompt in enumerate(prompts):
            # A decoder goes on from the last position, so that its prompts end there.
            there = slice(0, len(prompt)) if self.is_pair else slice(width - len(prompt), width)
            ids[row, there], mask[row, there] = prompt, 1
        inputs = {name: np.zeros((count, shape[1], 0, shape[3]), np.float32) for name, shape in self._past.items()}
        if not self.is_pair:
            return inputs | self._masks(ids, mask)
        (states,) = self._run(self._encoder, ["last_hidden_state"], {"input_ids": ids, "attention_mask": mask})
        inputs |= {"encoder_hidden_states": states, "encoder_attention_mask": mask}
        inputs["input_ids"] = np.full((count, 1), self._start, np.int64)
        inputs["use_cache_branch"] = np.array([False])
        return inputs

    def _check_memory(self, rows, width, max_new_tokens):
        """RunnerError if the cache, the attention and the logits of a batch do not fit into the memory.

        Args:
            rows: questions.
            width: tokens of the longest prompt.
            max_new_tokens: longest answer.
        """
        longest = min(width + max_new_tokens, self.context_tokens + width)
        heads = max(shape[1] for shape in self._past.values())
        cache = sum(shape[1] * shape[3] for shape in self._past.values()) * longest
        logits = self._words * (1 if self.is_pair else width)
        lack = lack_of_memory(4 * rows * (cache + heads * width**2 + logits), rows, longest)
        if lack:
            raise RunnerError(lack)

    def _check_ids(self, ids):
        """RunnerError where a token is none of the model's: a graph of blocks of 4 or 8 bits looks it up all the same."""
        if not ids:
            raise RunnerError("a prompt without a token")
        if self._words and max(ids) >= self._words:
            raise RunnerError(
                f"token {max(ids)} is none of the model's {self._words:,}: the tokenizer is another model's"
            )

    def _masks(self, ids, mask):
        inputs = {"input_ids": ids, "attention_mask": mask}
        if self._has_positions:
            inputs["position_ids"] = np.maximum(mask.cumsum(axis=1) - 1, 0)[:, -ids.shape[1] :]
        return inputs

    def _advance(self, inputs, results, tokens, staying):
        """What the decoder reads next: the new tokens, and the cache of the rows that go on."""
        everyone = len(staying) == len(inputs["input_ids"])
        new = dict(inputs)
        for name, values in results.items():
            new[name.replace("present", "past_key_values")] = values
        if not everyone:
            new = {name: values if name == "use_cache_branch" else values[staying] for name, values in new.items()}
        ids = np.array(tokens, np.int64)[:, None]
        if self.is_pair:
            return new | {"input_ids": ids, "use_cache_branch": np.array([True])}
        mask = np.concatenate([new["attention_mask"], np.ones_like(ids)], axis=1)
        return new | self._masks(ids, mask)

    def _run(self, session, outputs, inputs):
        try:
            found = session.run(outputs, inputs)
        except Exception as error:  # noqa: BLE001 - onnxruntime's have no class in common
            raise RunnerError(f"onnxruntime stopped: {str(error)[:300]}") from None
        rows = len(inputs["input_ids"])
        if any(np.shape(values)[:1] != (rows,) for values in found):
            raise RunnerError("the graph's outputs have not as many rows as its inputs")
        return found


def _tokenizer(path):
    if not path.exists():
        raise RunnerError(f"there is no file {path}: copy or export the package again")
    check_file(path, MOST_JSON)
    try:
        # The library that reads it again ends in a panic on numbers and names that ours refuses.
        read_outside(path, most_bytes=MOST_JSON, most_text=MOST_JSON)
    except JsonError as error:
        raise RunnerError(f"{path} cannot be read: {error}") from None
    tokenizer = _of_tokenizers(_load_tokenizer, path)
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def _load_tokenizer(path):
    try:
        return Tokenizer.from_file(str(path))
    except Exception as error:  # noqa: BLE001 - tokenizers raises nothing narrower
        raise RunnerError(f"{path} cannot be read: {error}") from None


def _of_tokenizers(function, argument):
    """Return what a tokenizer says; when its Rust gives up, that is a BaseException without a name in Python."""
    try:
        with _quiet_errors():
            return function(argument)
    except (KeyboardInterrupt, SystemExit, MemoryError, RunnerError):
        raise
    except BaseException as error:  # noqa: BLE001
        raise RunnerError(f"the tokenizer stopped: {str(error)[:300]}") from None


@contextlib.contextmanager
def _quiet_errors():
    """Drop what native code writes to stderr while the block runs: Rust prints lines of its own before it gives up."""
    try:
        kept = os.dup(2)
    except OSError:
        # There is no stderr.
        yield
        return
    nothing = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nothing, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nothing)


def _session(path, threads):
    if not path.is_file():
        raise RunnerError(f"there is no file {path}")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 4
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # noqa: BLE001 - onnxruntime's have no class in common
        raise RunnerError(f"onnxruntime cannot load {path}: {str(error)[:300]}") from None


if __name__ == "__main__":
    sys.exit(main(Model, __doc__.splitlines()[0], "onnx/*decoder_model_merged*.onnx"))
