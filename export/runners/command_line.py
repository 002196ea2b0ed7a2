"""What every run.py shares: questions in, one JSON line per answer out. It is copied beside run.py, with the modules it imports."""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import time
from pathlib import Path

import numpy as np
import outside_json
from machine import MOST_ROWS, bounded_threads
from shown_text import clean, clean_line, json_line

PROMPT = "Q: {question} A: Let's think step by step."
"""The prompt of models that do not name one themselves."""
WINDOW = 16
"""Batches that are sorted by length together; their answers still come in the order of the questions."""
MOST_JSON = 2**28
"""Bytes of the largest JSON file that a package may hold: a tokenizer of 250,000 tokens takes 33 million."""
MOST_LINE = 2**20
"""Characters of the longest line of a questions file."""
MARK = b"\xef\xbb\xbf"
"""The byte order mark of UTF-8, which says nothing and is left out."""
FOREIGN = (
    (b"\xff\xfe\x00\x00", "UTF-32 text", "Convert it: iconv -f UTF-32 -t UTF-8 OLD > NEW"),
    (b"\x00\x00\xfe\xff", "UTF-32 text", "Convert it: iconv -f UTF-32 -t UTF-8 OLD > NEW"),
    (b"\xff\xfe", "UTF-16 text", "Convert it: iconv -f UTF-16 -t UTF-8 OLD > NEW"),
    (b"\xfe\xff", "UTF-16 text", "Convert it: iconv -f UTF-16 -t UTF-8 OLD > NEW"),
    (b"\x1f\x8b", "a gzip file", "Unpack it: gunzip FILE"),
    (b"PK\x03\x04", "a zip file", "Unpack it: unzip FILE"),
)
"""How files begin that are often taken for UTF-8 text: their first bytes, their name, and what to do."""


class RunnerError(Exception):
    """What the user gave cannot be used."""


def check_lengths(prompts, most, context_tokens):
    """RunnerError where a prompt has more than `most` tokens."""
    longest = max(map(len, prompts))
    if longest > most:
        raise RunnerError(f"the prompt has {longest} tokens, the context holds {context_tokens}")


def pick(logits, temperature, top_p, rng):
    """The next token: the likeliest, or one drawn from the likeliest that hold `top_p` of the probability."""
    likeliest = int(np.argmax(logits))
    # NumPy finds the first NaN before any number.
    if not np.isfinite(logits[likeliest]):
        raise RunnerError("the model computes no numbers: its weights are damaged")
    if temperature <= 0:
        return likeliest
    weights = np.exp((logits - logits.max()).astype(np.float64) / temperature)
    weights /= weights.sum()
    order = np.argsort(-weights)
    kept = order[: int(np.searchsorted(np.cumsum(weights[order]), top_p)) + 1]
    return int(rng.choice(kept, p=weights[kept] / weights[kept].sum()))


def answers(model, questions, arguments, numbers=(0,), stream=None):
    """Answer questions together; records in their order.

    Args:
        model: has `prompt`, `tokenize`, `detokenize` and `generate`.
        questions: texts.
        arguments: max_new_tokens, temperature, top_p, seed.
        numbers: number of each question in its file, which its random draws depend on.
        stream: where the text of the only question is written while it comes.
    """
    begun = time.perf_counter()
    prompts = [model.tokenize(model.prompt.replace("{question}", question)) for question in questions]
    draws = [np.random.default_rng([arguments.seed, number]) for number in numbers]
    tokens = [[] for _ in questions]
    first, last = [None] * len(questions), [None] * len(questions)
    shown = ""

    def choose(row, logits):
        return pick(logits, arguments.temperature, arguments.top_p, draws[row])

    for row, token in model.generate(prompts, arguments.max_new_tokens, choose):
        tokens[row].append(token)
        last[row] = time.perf_counter() - begun
        if first[row] is None:
            first[row] = last[row]
        if stream:
            text = model.detokenize(tokens[row])
            # A character may need a token more.
            if not text.endswith("\ufffd"):
                stream.write(clean(text[len(shown) :]))
                stream.flush()
                shown = text
    whole = time.perf_counter() - begun
    records = []
    for row, question in enumerate(questions):
        seconds = whole if len(questions) == 1 or last[row] is None else last[row]
        records.append(
            {
                "question": question,
                "output": model.detokenize(tokens[row]),
                "tokens": tokens[row],
                "prompt_tokens": len(prompts[row]),
                "first_token_seconds": round(whole if first[row] is None else first[row], 4),
                "seconds": round(seconds, 4),
                "tokens_per_second": round(len(tokens[row]) / seconds, 2) if seconds else 0.0,
            }
        )
    return records


def read_questions(stream):
    """(question, rest of its record) of each line that is not empty, of a stream opened in binary mode."""
    for number, line in enumerate(read_lines(stream), start=1):
        line = line.strip()
        if not line:
            continue
        if not line.startswith("{"):
            yield line, {}
            continue
        try:
            record = json.loads(line)
            question = record.pop("question")
            # An escape such as \\ud800 alone is no character, and could not be written again.
            json.dumps([question, record], ensure_ascii=False).encode()
        except (ValueError, KeyError, RecursionError):
            raise RunnerError(f'line {number}: expected plain text or {{"question": …}}, got {line[:60]!r}') from None
        if not isinstance(question, str):
            raise RunnerError(f"line {number}: the question is no text but {question!r}")
        yield question, record


def read_lines(stream):
    """The lines of UTF-8 text, each with its end as "\\n"; LF, CR LF and CR end a line. The twin of kpodx/text/files.py."""
    number = offset = 0
    most = 4 * MOST_LINE  # bytes: no character has more than four
    for piece in iter(lambda: stream.readline(most + 1), b""):
        if len(piece) > most:
            raise RunnerError(f"line {number + 1} has more than {MOST_LINE:,} characters")
        for line in piece.splitlines(keepends=True):
            number += 1
            try:
                text = decode_line(line, offset)
            except ForeignTextError as problem:
                raise RunnerError(f"line {number}: expected UTF-8 text, got {problem.what}. {problem.hint}") from None
            if len(text) > MOST_LINE:
                raise RunnerError(f"line {number} has more than {MOST_LINE:,} characters")
            offset += len(line)
            yield text


class ForeignTextError(ValueError):
    """A line is not UTF-8 text: what it is, and what to do about it."""

    def __init__(self, what: str, hint: str) -> None:
        super().__init__(what)
        self.what = what
        self.hint = hint


def decode_line(line: bytes, offset: int) -> str:
    r"""Return a line as text that ends with "\n" or nothing.

    Args:
        line: its bytes, with the line end.
        offset: bytes of the file before it.

    Raises:
        ForeignTextError: it is not UTF-8, or holds a NUL byte.
    """
    if offset == 0:
        _refuse_foreign(line)
    skipped = len(MARK) if offset == 0 and line.startswith(MARK) else 0
    body = line[skipped:].rstrip(b"\r\n")
    if 0 in body:
        raise _nul_error(body, offset + skipped + body.index(0) + 1, is_first=offset == 0)
    try:
        return body.decode() + ("\n" if len(body) + skipped < len(line) else "")
    except UnicodeDecodeError as problem:
        column, place = problem.start + 1, offset + skipped + problem.start + 1
        raise ForeignTextError(
            f"the byte {body[problem.start]:#04x} at column {column} (byte {place} of the file)",
            "If it is Windows text, convert it: iconv -f WINDOWS-1252 -t UTF-8 OLD > NEW",
        ) from None


def _refuse_foreign(start: bytes) -> None:
    for mark, what, hint in FOREIGN:
        if start.startswith(mark):
            raise ForeignTextError(what, hint)


def _nul_error(body: bytes, place: int, *, is_first: bool) -> ForeignTextError:
    """Return what a line with a NUL byte is: in UTF-16 and UTF-32, half or more of the bytes of Latin text are NUL."""
    odd, even = body[1::2].count(0), body[::2].count(0)
    if is_first and len(body) * 6 < (odd + even) * 10 < len(body) * 10:
        return ForeignTextError("UTF-32 text", "Convert it: iconv -f UTF-32LE -t UTF-8 OLD > NEW (or UTF-32BE)")
    if is_first and odd + even < len(body) < max(odd, even) * 3:
        name = "UTF-16LE" if odd > even else "UTF-16BE"
        return ForeignTextError("UTF-16 text", f"Convert it: iconv -f {name} -t UTF-8 OLD > NEW")
    return ForeignTextError(
        f"a NUL byte (byte {place} of the file)", "The file is damaged or is not text; write it again as UTF-8."
    )


def answer_all(model, lines, arguments):
    """Records of all questions of a file, in its order."""
    read, number = read_questions(lines), 0
    while window := list(itertools.islice(read, arguments.batch_size * (WINDOW if arguments.batch_size > 1 else 1))):
        by_length = sorted(range(len(window)), key=lambda i: -len(window[i][0]))
        done = {}
        if arguments.keep_going:
            done = {row: unanswered(model, *window[row]) for row in by_length if is_too_long(model, window[row][0])}
            by_length = [row for row in by_length if row not in done]
        for begin in range(0, len(by_length), arguments.batch_size):
            rows = by_length[begin : begin + arguments.batch_size]
            numbers = [number + row for row in rows]
            records = answers(model, [window[row][0] for row in rows], arguments, numbers)
            done |= {row: {**window[row][1], **record} for row, record in zip(rows, records, strict=True)}
        for row in range(len(window)):
            yield done[row]
        number += len(window)


def is_too_long(model, question):
    """Whether a question does not fit into the model's context."""
    return len(model.tokenize(model.prompt.replace("{question}", question))) > model.context_tokens - (
        not model.is_pair
    )


def unanswered(model, question, rest):
    """The record of a question that does not fit."""
    tokens = len(model.tokenize(model.prompt.replace("{question}", question)))
    error = f"the prompt has {tokens} tokens, the context holds {model.context_tokens}"
    nothing = dict.fromkeys(("first_token_seconds", "seconds", "tokens_per_second"), 0.0)
    return {
        **rest,
        "question": question,
        "output": "",
        "tokens": [],
        "prompt_tokens": tokens,
        **nothing,
        "error": error,
    }


def read_json(path, most_bytes=MOST_JSON):
    """Return the object in a JSON file of a package; RunnerError if it holds something else."""
    try:
        found = outside_json.read(path, most_bytes=most_bytes, most_text=most_bytes)
    except outside_json.JsonError as error:
        raise RunnerError(f"{path} cannot be read: {error}") from None
    if not isinstance(found, dict):
        raise RunnerError(f"{path} holds no object")
    return found


def check_file(path, most=None):
    """RunnerError where something stands there that cannot be read to its end: a pipe, a device, more than `most` bytes."""
    if path.exists() and not path.is_file():
        raise RunnerError(f"{path} is not a regular file")
    if most and path.stat().st_size > most:
        raise RunnerError(f"{path} has more than {most:,} bytes")


def number_of(found, name, least, most=2**31 - 1):
    """A whole number in what a JSON file holds, None where it names none; RunnerError where it is something else."""
    value = found.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise RunnerError(f"{name} is {str(value)[:40]!r}, expected a whole number from {least} to {most}")
    return value


def prompt_of(text):
    """What a package wraps a question in, ours where it names nothing; RunnerError where there is no place for the question."""
    if text is None:
        return PROMPT
    if not isinstance(text, str) or "{question}" not in text:
        raise RunnerError(f"the package's prompt has no {{question}}: {str(text)[:40]!r}")
    return text


def read_package(folder):
    """Return the package's manifest; an empty one if there is none."""
    path = folder / "package.json"
    return read_json(path, outside_json.MOST_BYTES) if path.exists() else {}


def find_model(given, folder, package, pattern):
    """Return the model file to run: the one given, or the first of the package."""
    if given:
        return Path(given) if Path(given).is_file() else named_model(given, folder, package)
    models = models_of(package)
    if models:
        name = models[0].get("name")
        # Links stay allowed: in the hub's cache every file is one.
        if not outside_json.is_inside(name):
            raise RunnerError(f"package.json names a model outside the package: {str(name)[:100]!r}")
        return folder / name
    found = sorted(folder.glob(pattern))
    if not found:
        raise RunnerError("there is no model beside run.py; name one with --model")
    return found[0]


def models_of(package):
    """Return the entries of a manifest's models, without those that are not objects."""
    models = package.get("models")
    return [model for model in models if isinstance(model, dict)] if isinstance(models, list) else []


def named_model(given, folder, package):
    """Return the model of a package that a quantization or a name in the manifest means."""
    models = models_of(package)
    for model in models:
        name = model.get("name")
        if given in (model.get("quantization"), name) and outside_json.is_inside(name):
            return folder / name
    known = ", ".join(str(model.get("quantization"))[:40] for model in models[:20])
    raise RunnerError(f"there is no file {given}" + (f", and no such model: there are {known}" if known else ""))


def main(load, description, pattern, argv=None):
    """Command line; returns its exit status.

    Args:
        load: makes a model, a context manager, of (file, threads, context_tokens).
        description: first line of the help.
        pattern: files that can be a model, relative to run.py.
        argv: arguments, of the process by default.
    """
    try:
        return _run(load, description, pattern, argv)
    except (RunnerError, OSError, UnicodeError, MemoryError) as error:
        print(f"error: {clean_line(error) or 'no memory'}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


def _run(load, description, pattern, argv):
    folder = Path(sys.argv[0]).resolve().parent
    if not (sys.argv[1:] if argv is None else argv) and (folder / "bundle.json").is_file():
        import bundle

        return bundle.main([])
    package = read_package(folder)
    device = package.get("profile")
    device = device if isinstance(device, dict) else {}
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("question", nargs="?", help="one question; its steps are shown as they come")
    parser.add_argument("--model", help="model file; the package's first by default")
    parser.add_argument(
        "--questions", help='file with a question a line, plain or as {"question": …}; stdin by default'
    )
    parser.add_argument("--max-new-tokens", type=int, default=256, help="longest answer (default 256)")
    # A package may come from anyone: it gets no more threads than there are cores.
    threads = bounded_threads(number_of(device, "threads", 1, 1024))
    parser.add_argument("--threads", type=int, default=threads, help=f"CPU threads (default {threads})")
    context = number_of(device, "context_tokens", 1)
    parser.add_argument(
        "--context-tokens",
        type=int,
        default=context,
        help=f"most tokens of prompt and answer (default {context or 'the model`s'})",
    )
    parser.add_argument("--batch-size", type=int, default=1, help="questions answered at a time (default 1)")
    parser.add_argument("--temperature", type=float, default=0.0, help="0 takes the likeliest token (default)")
    parser.add_argument("--top-p", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--keep-going", action="store_true", help="give a question that does not fit an empty answer, and go on"
    )
    arguments = parser.parse_args(argv)
    for name in ("max_new_tokens", "threads", "batch_size"):
        if getattr(arguments, name) < 1:
            parser.error(f"--{name.replace('_', '-')} must be at least 1")
    if arguments.batch_size > MOST_ROWS:
        parser.error(f"--batch-size must be at most {MOST_ROWS}")
    arguments.threads = bounded_threads(arguments.threads)
    if arguments.seed < 0:
        parser.error("--seed must be at least 0")
    if not 0 <= arguments.temperature < float("inf"):
        parser.error("--temperature must be 0 or more")
    if not 0 < arguments.top_p <= 1:
        parser.error("--top-p must be above 0, and 1 at most")
    model_file = find_model(arguments.model, folder, package, pattern)
    with load(model_file, arguments.threads, arguments.context_tokens) as model:
        if arguments.question is not None:
            answers(model, [arguments.question], arguments, stream=sys.stdout)
            print()
            return 0
        with Path(arguments.questions).open("rb") if arguments.questions else sys.stdin.buffer as lines:
            for record in answer_all(model, lines, arguments):
                print(json_line(record), flush=True)
    return 0
