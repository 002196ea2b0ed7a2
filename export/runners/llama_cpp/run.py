#!/usr/bin/env python3
"""Ask a reasoner that kpodx exported to GGUF. Needs llama-cpp-python and nothing else: no torch, no kpodx.

    python run.py --model student-Q8_0.gguf "Tom has 3 boxes of 12 eggs and breaks 5. How many eggs are left?"
    python run.py --model student-Q8_0.gguf --questions questions.jsonl > answers.jsonl

One JSON line an answer: the question, the output, its token ids, and timings. A questions file has one question a line, as plain
text or as {"question": "…"}; what else such an object holds comes back unchanged. Without a question, they are read from stdin.
"""

from __future__ import annotations

import ctypes
import os
import sys
import time
from pathlib import Path

try:
    import llama_cpp
    import numpy as np
except ImportError:
    sys.exit("run.py needs llama-cpp-python: pip install llama-cpp-python")

# In a package the shared modules are beside run.py; where kpodx keeps them, they are one folder above. First in the path, so that no
# module of the same name elsewhere is run in their place.
if not Path(__file__).resolve().with_name("command_line.py").is_file():
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from command_line import RunnerError, check_file, check_lengths, main, prompt_of
from machine import MOST_CONTEXT, bounded_threads, lack_of_memory

PIECE = 512
"""Most tokens that a decoder takes at a time."""


@llama_cpp.llama_log_callback
def _quiet(_level, _text, _data):
    """llama.cpp's own lines go nowhere; this function must live as long as the library."""


@ctypes.CFUNCTYPE(None, ctypes.c_char_p)
def _give_up(message):
    """Called where an assertion of llama.cpp fails, as one does on many a damaged file; it must not return."""
    words = message.decode("utf-8", "replace").splitlines() or [""]
    sys.stdout.flush()
    print(f"error: llama.cpp gave up: {words[0].rpartition('/')[2][:300]}", file=sys.stderr, flush=True)
    os._exit(2)


def _tell_aborts():
    """Let llama.cpp end the process with one line, where it would attach a debugger, print a backtrace and abort."""
    os.environ.setdefault("GGML_NO_BACKTRACE", "1")
    library = getattr(getattr(llama_cpp, "llama_cpp", None), "_lib", None)
    # Libraries before July 2025 lack it, and Windows does not find it through this one.
    set_callback = getattr(library, "ggml_set_abort_callback", None)
    if set_callback:
        set_callback(_give_up)


class Model:
    """A GGUF file, decoder-only or encoder-decoder; a context manager, since every model must be closed.

    Args:
        path: the file.
        threads: CPU threads; None takes half of the machine's.
        context_tokens: most tokens of prompt and answer together; None takes what the file was trained with.
    """

    def __init__(self, path, threads=None, context_tokens=None):
        check_file(Path(path))
        with Path(path).open("rb") as stream:
            if stream.read(4) != b"GGUF":
                raise RunnerError(f"{path} is no GGUF file")
        begun = time.perf_counter()
        llama_cpp.llama_log_set(_quiet, ctypes.c_void_p(0))
        _tell_aborts()
        self._context = None
        parameters = llama_cpp.llama_model_default_params()
        parameters.use_extra_bufts = not has_amx()
        self._model = llama_cpp.llama_model_load_from_file(os.fsencode(path), parameters)
        if not self._model:
            raise RunnerError(f"llama.cpp cannot load {path}: it is cut off, or of an unknown architecture")
        self._vocabulary = llama_cpp.llama_model_get_vocab(self._model)
        self.is_pair = bool(llama_cpp.llama_model_has_encoder(self._model))
        self.context_tokens = min(context_tokens or llama_cpp.llama_model_n_ctx_train(self._model), MOST_CONTEXT)
        self._threads = bounded_threads(threads)
        self._sizes = (0, 0, 0)
        self.prompt = prompt_of(self.metadata("kpodx.prompt"))
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
        return buffer.value.decode("utf-8", "replace") if size >= 0 else None

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

    def generate(self, prompts, max_new_tokens, choose):
        """Yield (row, token) of each answer as tokens come, up to the end mark, which is not among them.

        Args:
            prompts: token ids, one list a row; the rows are answered side by side.
            max_new_tokens: longest answer.
            choose: the next token of (row, logits [vocabulary]), None where the row's answer ends there; the logits hold until
                the next step only.
        """
        check_lengths(prompts, self.context_tokens - (not self.is_pair), self.context_tokens)
        rooms = [min(max_new_tokens, self.context_tokens - (0 if self.is_pair else len(ids))) for ids in prompts]
        feed = self._begin(prompts, max(rooms))
        rows = {slot: slot for slot in feed}
        for step in range(1, max(rooms) + 1):
            finished = []
            for slot, logits in self._decode(feed):
                token = choose(rows[slot], logits)
                if token is None or llama_cpp.llama_vocab_is_eog(self._vocabulary, token):
                    finished.append(slot)
                    continue
                yield rows[slot], token
                if step == rooms[rows[slot]]:
                    finished.append(slot)
                feed[slot] = ([token], feed[slot][1] + len(feed[slot][0]))
            for slot in reversed(finished):
                self._leave(slot, feed, rows)
            if not feed:
                return

    def logits(self, prompt, answer):
        """Logits [len(answer), vocabulary] of each token of an answer, given the prompt and what stands before it."""
        feed, found = self._begin([prompt], len(answer)), []
        for token in answer:
            found += [logits.copy() for _, logits in self._decode(feed)]
            feed = {0: ([token], feed[0][1] + len(feed[0][0]))}
        return np.stack(found)

    def _begin(self, prompts, new_tokens):
        """Forget what was said before, encode, and return what the decoder reads first: (tokens, position) by slot in memory."""
        if not all(prompts):
            raise RunnerError("a prompt without a token")
        self._reserve(len(prompts), sum(map(len, prompts)), max(map(len, prompts)) + new_tokens)
        llama_cpp.llama_memory_clear(llama_cpp.llama_get_memory(self._context), True)
        feed = {slot: (ids, 0) for slot, ids in enumerate(prompts)}
        if not self.is_pair:
            return feed
        self._run(llama_cpp.llama_encode, feed)
        start = llama_cpp.llama_model_decoder_start_token(self._model)
        return dict.fromkeys(feed, ([start if start >= 0 else llama_cpp.llama_vocab_bos(self._vocabulary)], 0))

    def _reserve(self, slots, inputs, longest):
        """Have a context for so many prompts, of so many tokens together, with at most `longest` of prompt and answer."""
        wanted = tuple(map(max, (slots, inputs, longest), self._sizes))
        if wanted == self._sizes:
            return
        slots, inputs, longest = wanted
        most = llama_cpp.llama_max_parallel_sequences()
        if slots > most:
            raise RunnerError(f"llama.cpp answers at most {most} questions at a time, not {slots}")
        self._check_memory(slots, inputs, longest)
        if self._context:
            llama_cpp.llama_free(self._context)
            self._context = None
        parameters = llama_cpp.llama_context_default_params()
        parameters.n_seq_max = parameters.n_outputs_max = slots
        parameters.n_ctx = slots * longest
        # A batch smaller than the input aborts the process, and an encoder takes it in one piece.
        parameters.n_batch = inputs
        parameters.n_ubatch = inputs if self.is_pair else max(slots, min(inputs, PIECE))
        # llama.cpp's T5 aborts the process where every slot has its own part of the memory; others are faster so.
        parameters.kv_unified = self.is_pair
        parameters.n_threads = parameters.n_threads_batch = self._threads
        # In half precision, as are the defaults, attention rounds enough to change an answer now and then.
        parameters.type_k = parameters.type_v = llama_cpp.GGML_TYPE_F32
        parameters.flash_attn_type = llama_cpp.LLAMA_FLASH_ATTN_TYPE_DISABLED
        parameters.no_perf = True
        self._context = llama_cpp.llama_init_from_model(self._model, parameters)
        self._sizes = wanted if self._context else (0, 0, 0)
        if not self._context:
            raise RunnerError(f"no memory for {slots} contexts of {longest} tokens")

    def _check_memory(self, slots, inputs, longest):
        """RunnerError if the cache and the attention of a batch do not fit into the memory; arguments as of `_reserve`."""
        heads = max(1, llama_cpp.llama_model_n_head(self._model))
        of_cache = max(1, llama_cpp.llama_model_n_head_kv(self._model))
        width = llama_cpp.llama_model_n_embd(self._model) * of_cache // heads
        cache = 2 * llama_cpp.llama_model_n_layer(self._model) * width
        attention = heads * (inputs if self.is_pair else min(inputs, PIECE))
        lack = lack_of_memory(4 * slots * longest * (cache + attention), slots, longest)
        if lack:
            raise RunnerError(lack)

    def _leave(self, slot, feed, rows):
        """Free a slot; the last one moves there, since llama.cpp runs only neighbours together."""
        memory = llama_cpp.llama_get_memory(self._context)
        last = slot if self.is_pair else max(feed)
        llama_cpp.llama_memory_seq_rm(memory, slot, -1, -1)
        if last != slot:
            llama_cpp.llama_memory_seq_cp(memory, last, slot, -1, -1)
            llama_cpp.llama_memory_seq_rm(memory, last, -1, -1)
            feed[slot], rows[slot] = feed[last], rows[last]
        del feed[last], rows[last]

    def _decode(self, feed):
        """Yield (slot, logits [vocabulary]) after the last token of each; the logits hold until the next call."""
        size = llama_cpp.llama_vocab_n_tokens(self._vocabulary)
        for slot, index in self._run(llama_cpp.llama_decode, feed).items():
            yield slot, np.ctypeslib.as_array(llama_cpp.llama_get_logits_ith(self._context, index), (size,))

    def _run(self, function, feed):
        """Let llama.cpp read (tokens, position) of each slot; index of each one's last token."""
        count = sum(len(ids) for ids, _ in feed.values())
        batch = llama_cpp.llama_batch_init(count, 0, 1)
        batch.n_tokens, index, last = count, 0, {}
        for slot, (ids, start) in sorted(feed.items()):
            for position, token in enumerate(ids, start):
                batch.token[index], batch.pos[index] = token, position
                batch.n_seq_id[index], batch.seq_id[index][0] = 1, slot
                batch.logits[index] = function is llama_cpp.llama_encode or position == start + len(ids) - 1
                index += 1
            last[slot] = index - 1
        status = function(self._context, batch)
        llama_cpp.llama_batch_free(batch)
        if status != 0:
            raise RunnerError(f"llama.cpp stopped with status {status}")
        return last


def has_amx():
    """Whether this is an x86 server CPU with AMX: there llama.cpp's rearranged weights crash in many virtual machines."""
    try:
        return "amx_tile" in Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return False


if __name__ == "__main__":
    sys.exit(main(Model, __doc__.splitlines()[0], "*.gguf"))
