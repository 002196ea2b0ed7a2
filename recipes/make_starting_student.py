"""Make a starting student: a small T5 that knows the words of the embedded stories and short ones of them, and no more.

    python recipes/make_starting_student.py --output build/words
    python recipes/make_starting_student.py --start build/words --max-steps 2 --updates 1400 --seed 1 --learning-rate 2e-3 \\
        --output recipes/quickstart-student

The first command trains a vocabulary (whole words, digits split), and then a T5 from random weights on two synthetic tasks drawn from the
*train* stories of the embedded set: single sums, up to three separate ones in a row, and stories with a single step, alone or two separate
ones in a row. Every third example has its steps in the input, so that only the answer is to be said. The second command continues with
stories of one and two steps. Neither sees a longer story, nor a test question. At the end each prints how many unseen stories of one, two
and three steps the student answers.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import re
import string
import sys
import tempfile
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import sentencepiece
import torch
from sentencepiece import sentencepiece_model_pb2
from transformers import T5Config, T5ForConditionalGeneration, T5TokenizerFast

from kpodx.dataset import embedded
from kpodx.dataset.story_words import format_number
from kpodx.modeling.examples import build_example, collate, length_buckets, model_family, to_device
from kpodx.modeling.generation import answer_questions
from kpodx.modeling.likelihood import token_nll
from kpodx.modeling.loading import load_with_tokenizer
from kpodx.modeling.tokenization import tokenize_rationales
from kpodx.schema import Question, Rationale, Split
from kpodx.text.prompts import CUE, answer_sentence, student_prompt

SPECIALS = 3  # pad, end, unknown
RARE = 8
"""Words that occur fewer times are spelled."""


def make_tokenizer(folder: Path, texts: list[str]) -> T5TokenizerFast:
    """A unigram vocabulary in the layout of T5's: every frequent word whole, digits apart, letters for all other words.

    A number's first digit carries the word start: "▁2" "5". A lone word start before it would be one more token a number.

    SentencePiece trains the normaliser and the layout. Its pieces are then replaced: on so few distinct words its own pruning would
    cut most of them into letters.
    """
    with tempfile.TemporaryDirectory() as scratch:
        corpus, prefix = Path(scratch, "corpus.txt"), Path(scratch, "spiece")
        corpus.write_text("\n".join(texts), encoding="utf-8")
        sentencepiece.SentencePieceTrainer.train(
            input=str(corpus), model_prefix=str(prefix), vocab_size=300, model_type="unigram", split_digits=True,
            pad_id=0, eos_id=1, unk_id=2, bos_id=-1, hard_vocab_limit=False, minloglevel=2,
        )  # fmt: skip
        proto = sentencepiece_model_pb2.ModelProto()
        proto.ParseFromString(prefix.with_suffix(".model").read_bytes())
        words = Counter(word for text in texts for word in re.findall(r"(?<!\S)[A-Za-z][a-z]*", text))
        total = sum(words.values())
        del proto.pieces[SPECIALS:]
        for word, count in sorted(words.items(), key=lambda item: (-item[1], item[0])):
            # Names and things outside the lists are read and written letter by letter, as a user's own are.
            if count >= RARE:
                proto.pieces.add(piece=f"▁{word}", score=math.log(count / total))
        known = {piece.piece for piece in proto.pieces}
        for character in [
            "▁",
            *(f"▁{mark}" for mark in "$+-*/=" + string.digits),
            *string.digits,
            *string.punctuation,
            *string.ascii_letters,
        ]:
            if character not in known:
                proto.pieces.add(piece=character, score=-15.0)
        proto.trainer_spec.vocab_size = len(proto.pieces)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "spiece.model").write_bytes(proto.SerializeToString())
    tokenizer = T5TokenizerFast(
        vocab_file=str(folder / "spiece.model"), extra_ids=0, add_prefix_space=True, legacy=True
    )
    tokenizer.save_pretrained(folder)
    # With this setting kept, every later load would convert the SentencePiece file again; tokenizer.json already has it.
    settings = folder / "tokenizer_config.json"
    kept = {k: v for k, v in json.loads(settings.read_text(encoding="utf-8")).items() if k != "add_prefix_space"}
    settings.write_text(json.dumps(kept, indent=2) + "\n", encoding="utf-8")
    return tokenizer


def single_sums(rng: random.Random, count: int, level: str) -> list[tuple[Question, Rationale]]:
    """One to three separate sums in a row, with the numbers that occur inside longer train stories; the answer is the last one's."""
    pool: list[tuple[str, str]] = []
    while len(pool) < 2 * count:
        story = embedded.draw_story(rng, rng.randint(2, 5), embedded.LEVELS[level])
        if story is None or embedded.split_of(story.question) is not Split.TRAIN:
            continue
        for step in story.steps:
            task = f"{format_number(step.left)} {step.operator} {format_number(step.right)}"
            pool.append((task, format_number(step.result)))
    rng.shuffle(pool)
    pairs = []
    for number in range(count):
        row = [pool.pop() for _ in range(rng.randint(1, min(3, len(pool) - (count - number) + 1)))]
        name, answer = f"sum-{number}", row[-1][1]
        question = Question(name, Split.TRAIN, " and ".join(task for task, _ in row), answer)
        text = " ".join(f"{task} = {result}." for task, result in row)
        pairs.append((question, Rationale(name, name, text, answer, "embedded")))
    return pairs


def short_stories(rng: random.Random, count: int, level: str, max_steps: int) -> list[tuple[Question, Rationale]]:
    """Stories of at most `max_steps` with their rationale; half of them two separate ones in a row, answered one after the other."""
    questions = embedded.generate_questions(
        Split.TRAIN, count, seed=rng.randrange(2**31), min_steps=1, max_steps=max_steps, level=level, wrong_rate=0.0
    )
    pairs = []
    while questions:
        row = [questions.pop() for _ in range(rng.randint(1, min(2, len(questions))))]
        text = " ".join(q.gold_rationales[0].rsplit(" The answer is", 1)[0] for q in row)
        last = row[-1]
        joined = replace(last, question=" ".join(q.question for q in row))
        pairs.append((joined, Rationale(last.id, last.id, text, last.answer, "embedded")))
    return pairs


def train(model: T5ForConditionalGeneration, tokenizer: T5TokenizerFast, arguments: argparse.Namespace) -> None:
    """AdamW with a one-cycle rate over fresh sums every epoch."""
    family = model_family(model, tokenizer)
    optimizer = torch.optim.AdamW(model.parameters(), lr=arguments.learning_rate, weight_decay=0.01)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, arguments.learning_rate, total_steps=arguments.updates, pct_start=0.05
    )
    update, epoch, begun = 0, 0, time.perf_counter()
    while update < arguments.updates:
        rng = random.Random(arguments.seed * 1000 + epoch)
        pairs = single_sums(rng, 6000, arguments.level) + short_stories(rng, 9000, arguments.level, arguments.max_steps)
        items = tokenize_rationales(tokenizer, [r for _, r in pairs], [q for q, _ in pairs])
        # Every third one is given its step and says the answer only: the student learns to read a step as well as to write one.
        given = [len(item.rationale_ids) if row % 3 == 0 else 0 for row, item in enumerate(items)]
        examples = [build_example(item, None, given[row], family, row=row) for row, item in enumerate(items)]
        lengths = torch.tensor([[len(e.labels), len(e.input_ids)] for e in examples]).numpy()
        for rows in length_buckets(lengths, arguments.batch_size, seed=arguments.seed, epoch=epoch):
            batch = to_device(collate([examples[i] for i in rows], family), model.device)
            loss = token_nll(model, batch, encoder_decoder=True).sum() / (batch["labels"] >= 0).sum()
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            scheduler.step()
            update += 1
            if update % 200 == 0:
                print(
                    f"{update:6d} loss {loss.item():.3f} {time.perf_counter() - begun:6.0f} s",
                    file=sys.stderr,
                    flush=True,
                )
            if update == arguments.updates:
                break
        epoch += 1


def new_student(arguments: argparse.Namespace) -> tuple[T5ForConditionalGeneration, T5TokenizerFast]:
    """Return a T5 with random weights and a vocabulary of the stories' words, saved in the output folder."""
    stories = [
        story
        for level in embedded.LEVELS
        for story in embedded.generate_questions(Split.TRAIN, 6000, seed=arguments.seed, min_steps=1, level=level)
    ]
    texts = [student_prompt(q) + " " + q.gold_rationales[0] + " " + answer_sentence(q.answer) for q in stories]
    tokenizer = make_tokenizer(arguments.output, texts)
    config = T5Config(
        vocab_size=len(tokenizer),
        d_model=arguments.width,
        d_kv=16,
        d_ff=4 * arguments.width,
        num_heads=arguments.width // 16,
        num_layers=arguments.layers,
        num_decoder_layers=arguments.layers,
        feed_forward_proj="gated-gelu",
        tie_word_embeddings=True,
        dropout_rate=0.0,
        decoder_start_token_id=0,
        n_positions=512,
    )
    return T5ForConditionalGeneration(config), tokenizer


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--updates", type=int, default=5000)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--learning-rate", type=float, default=3e-3)
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--max-steps", type=int, default=1, help="most steps of the stories that it learns")
    parser.add_argument("--start", type=Path, help="a student made by this script, to continue from")
    parser.add_argument("--level", choices=embedded.LEVELS, default="basic")
    parser.add_argument(
        "--questions", type=int, default=200, help="unseen ones to ask at the end, of each number of steps"
    )
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    torch.manual_seed(arguments.seed)
    arguments.output.mkdir(parents=True, exist_ok=True)
    if arguments.start is None:
        model, tokenizer = new_student(arguments)
    else:
        model, tokenizer = load_with_tokenizer(str(arguments.start))
        tokenizer.save_pretrained(arguments.output)
    print(f"{model.num_parameters():,} parameters, {len(tokenizer)} tokens, cue {CUE!r}", file=sys.stderr)
    train(model, tokenizer, arguments)
    model.save_pretrained(arguments.output)
    model.eval()
    for steps in (1, 2, 3):
        questions = embedded.generate_questions(
            Split.VALIDATION,
            arguments.questions,
            seed=arguments.seed,
            min_steps=steps,
            max_steps=steps,
            level=arguments.level,
        )
        answers = answer_questions(model, tokenizer, questions, max_new_tokens=40 * steps, batch_size=100)
        correct = sum(answer.correct for answer in answers)
        print(f"{steps}-step stories answered: {correct} of {len(answers)}", file=sys.stderr)


if __name__ == "__main__":
    main()
