#!/usr/bin/env python3
"""Ask a reasoner that kpodx exported to GGUF. Needs llama-cpp-python and nothing else: no torch, no kpodx.

    python run.py --model student-Q8_0.gguf "Tom has 3 boxes of 12 eggs and breaks 5. How many eggs are left?"
    python run.py --model student-Q8_0.gguf --questions questions.jsonl > answers.jsonl

One JSON line an answer: the question, the output, its token ids, and timings. A questions file has one question a line, as plain
text or as {"question": "…"}; what else such an object holds comes back unchanged. Without a question, they are read from stdin.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import math
import os
import random
import sys
import time
from pathlib import Path

try:
    import llama_cpp
except ImportError:
    sys.exit("run.py needs llama-cpp-python: pip install llama-cpp-python")

PROMPT = "Q: {question} A: Let's think step by step."
"""The prompt of files that do not name one themselves."""


class RunnerError(Exception):
    """What the user gave cannot be used."""


@llama_cpp.llama_log_callback
def _quiet(_level, _text, _data):
    """llama.cpp's own lines go nowhere; this function must live as long as the library."""


class Model:
    """A GGUF file, decoder-only or encoder-decoder; a context manager, since every model must be closed.

    Args:
        path: the file.
        threads: CPU threads; None takes half of the machine's.
        context_tokens: most tokens of prompt and answer together; None takes what the file was trained with.
    """

    def __init__(self, path, threads=None, context_tokens=None):
        with Path(path).open("rb") as stream:
            if stream.read(4) != b"GGUF":
                raise RunnerError(f"{path} is no GGUF file")
        begun = time.perf_counter()
        llama_cpp.llama_log_set(_quiet, ctypes.c_void_p(0))
        self._context = None
        parameters = llama_cpp.llama_model_default_params()
        parameters.use_extra_bufts = not has_amx()
        self._model = llama_cpp.llama_model_load_from_file(os.fsencode(path), parameters)
        if not self._model:
            raise RunnerError(f"llama.cpp cannot load {path}: it is cut off, or of an unknown architecture")
        self._vocabulary = llama_cpp.llama_model_get_vocab(self._model)
        self.is_pair = bool(llama_cpp.llama_model_has_encoder(self._model))
        self.context_tokens = context_tokens or llama_cpp.llama_model_n_ctx_train(self._model)
        parameters = llama_cpp.llama_context_default_params()
        # A batch smaller than the input aborts the process.
        parameters.n_ctx = parameters.n_batch = parameters.n_ubatch = self.context_tokens
        parameters.n_threads = parameters.n_threads_batch = threads or max(1, (os.cpu_count() or 2) // 2)
        # In half precision, as are the defaults, attention rounds enough to change an answer now and then.
        parameters.type_k = parameters.type_v = llama_cpp.GGML_TYPE_F32
        parameters.flash_attn_type = llama_cpp.LLAMA_FLASH_ATTN_TYPE_DISABLED
        parameters.no_perf = True
        self._context = llama_cpp.llama_init_from_model(self._model, parameters)
        if not self._context:
            self.close()
            raise RunnerError(f"no memory for a context of {self.context_tokens} tokens")
        self.prompt = self.metadata("kpodx.prompt") or PROMPT
        self.load_seconds = time.perf_counter() - begun

    def __enter__(self):
        return self

    def __exit__(self, *_exception):
        self.close()

    def close(self):
        """Give the memory back."""
        if self._context:
            llama_cpp.llama_free(self._context)
            self._context = None
        if self._model:
            llama_cpp.llama_model_free(self._model)
            self._model = None

    def metadata(self, key):
        """A text in the file's head, None where it has none of that name."""
        buffer = ctypes.create_string_buffer(4096)
        size = llama_cpp.llama_model_meta_val_str(self._model, key.encode(), buffer, len(buffer))
        return buffer.value.decode("utf-8") if size >= 0 else None

    def tokenize(self, text):
        """Token ids of a text, with the special tokens that the model wants around it."""
        data = text.encode("utf-8")
        size = len(data) + 8
        ids = (llama_cpp.llama_token * size)()
        count = llama_cpp.llama_tokenize(self._vocabulary, data, len(data), ids, size, True, False)
        if count < 0:
            raise RunnerError("the prompt cannot be tokenised")
        return list(ids[:count])

    def detokenize(self, ids):
        """The text of token ids, without special tokens."""
        array = (llama_cpp.llama_token * max(1, len(ids)))(*ids)
        size = 64 + 16 * len(ids)
        while True:
            buffer = ctypes.create_string_buffer(size)
            count = llama_cpp.llama_detokenize(self._vocabulary, array, len(ids), buffer, size, True, False)
            if count >= 0:
                return buffer.raw[:count].decode("utf-8", "replace").strip()
            size = -count

    def generate(self, prompt, max_new_tokens=256, temperature=0.0, top_p=1.0, seed=0):
        """Yield the ids of the answer one by one, up to the end mark, which is not among them."""
        ids = self.tokenize(prompt)
        room = self.context_tokens - (0 if self.is_pair else len(ids))
        if len(ids) > self.context_tokens or room < 1:
            raise RunnerError(f"the prompt has {len(ids)} tokens, the context holds {self.context_tokens}")
        llama_cpp.llama_memory_clear(llama_cpp.llama_get_memory(self._context), True)
        if self.is_pair:
            self._run(llama_cpp.llama_encode, ids)
            start = llama_cpp.llama_model_decoder_start_token(self._model)
            ids = [start if start >= 0 else llama_cpp.llama_vocab_bos(self._vocabulary)]
        rng = random.Random(seed)
        size = llama_cpp.llama_vocab_n_tokens(self._vocabulary)
        for _ in range(min(max_new_tokens, room)):
            self._run(llama_cpp.llama_decode, ids)
            logits = llama_cpp.llama_get_logits_ith(self._context, -1)
            token = pick(logits, size, temperature, top_p, rng)
            if llama_cpp.llama_vocab_is_eog(self._vocabulary, token):
                return
            yield token
            ids = [token]

    def _run(self, function, ids):
        array = (llama_cpp.llama_token * len(ids))(*ids)
        status = function(self._context, llama_cpp.llama_batch_get_one(array, len(ids)))
        if status != 0:
            raise RunnerError(f"llama.cpp stopped with status {status}")


def has_amx():
    """Whether this is an x86 server CPU with AMX: there llama.cpp's rearranged weights crash in many virtual machines."""
    try:
        return "amx_tile" in Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return False


def pick(logits, size, temperature, top_p, rng):
    """The next token: the likeliest, or one drawn from the likeliest that hold `top_p` of the probability."""
    values = logits[:size]
    best = max(values)
    if temperature <= 0:
        return values.index(best)
    weights = [math.exp((value - best) / temperature) for value in values]
    total = sum(weights)
    order = sorted(range(size), key=weights.__getitem__, reverse=True)
    kept, mass = [], 0.0
    for token in order:
        kept.append(token)
        mass += weights[token] / total
        if mass >= top_p:
            break
    return rng.choices(kept, [weights[token] for token in kept])[0]


def answer(model, question, arguments, number=0, stream=None):
    """One question's answer as a record; with `stream`, its text is written there while it comes."""
    begun = time.perf_counter()
    first, ids, shown = None, [], ""
    prompt = model.prompt.replace("{question}", question)
    settings = (arguments.max_new_tokens, arguments.temperature, arguments.top_p, arguments.seed + number)
    for token in model.generate(prompt, *settings):
        first = first or time.perf_counter() - begun
        ids.append(token)
        if stream:
            text = model.detokenize(ids)
            stream.write(text[len(shown) :])
            stream.flush()
            shown = text
    seconds = time.perf_counter() - begun
    return {
        "question": question,
        "output": model.detokenize(ids),
        "tokens": ids,
        "prompt_tokens": len(model.tokenize(prompt)),
        "first_token_seconds": round(first if first is not None else seconds, 4),
        "seconds": round(seconds, 4),
        "tokens_per_second": round(len(ids) / seconds, 2) if seconds else 0.0,
    }


def read_questions(lines):
    """(question, rest of its record) of each line that is not empty."""
    for number, line in enumerate(lines, start=1):
        line = line.strip()
        if not line:
            continue
        if not line.startswith("{"):
            yield line, {}
            continue
        try:
            record = json.loads(line)
            question = record.pop("question")
        except (ValueError, KeyError):
            raise RunnerError(f'line {number}: expected plain text or {{"question": …}}, got {line[:60]!r}') from None
        yield str(question), record


def main(argv=None):
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("question", nargs="?", help="one question; its steps are shown as they come")
    parser.add_argument("--model", required=True, help="GGUF file")
    parser.add_argument("--questions", help="file with a question a line")
    parser.add_argument("--max-new-tokens", type=int, default=256)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--context-tokens", type=int)
    parser.add_argument("--temperature", type=float, default=0.0, help="0 takes the likeliest token")
    parser.add_argument("--top-p", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args(argv)
    try:
        with Model(arguments.model, arguments.threads, arguments.context_tokens) as model:
            if arguments.question is not None:
                answer(model, arguments.question, arguments, stream=sys.stdout)
                print()
                return 0
            with Path(arguments.questions).open(encoding="utf-8") if arguments.questions else sys.stdin as lines:
                for number, (question, rest) in enumerate(read_questions(lines)):
                    record = {**rest, **answer(model, question, arguments, number)}
                    print(json.dumps(record, ensure_ascii=False), flush=True)
    except (RunnerError, OSError, UnicodeDecodeError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
