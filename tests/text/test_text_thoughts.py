"""Separating thoughts from explanations: a golden table of shapes, composition in every shape, and odd texts."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kpodx.text.thought_marks import marks_among
from kpodx.text.thoughts import opened_thought, separate_thoughts

T = "Maybe the answer is 22? No, 9.\nQuestion: is it 13 first?"
E = "4 + 5 = 9 shells. Therefore, the answer is 9."
FINAL = "<|start|>assistant<|channel|>final<|message|>"
ANALYSIS = "<|channel|>analysis<|message|>"

SHAPES = {
    "Qwen3": f"<think>\n{T}\n</think>\n\n{E}",
    "upper case": f"<THINK>{T}</THINK>{E}",
    "thinking": f"<thinking>{T}</thinking>\n{E}",
    "thought": f"<thought>\n{T}</thought>\n{E}",
    "reasoning": f"<reasoning>{T}</reasoning> {E}",
    "reflection": f"<reflection>{T}</reflection> {E}",
    "analysis": f"<analysis>{T}</analysis>\n{E}",
    "scratchpad": f"<scratchpad>{T}</scratchpad>\n{E}",
    "inner monologue": f"<inner_monologue>{T}</inner_monologue>\n{E}",
    "attributes": f'<think budget="512" lang = "en">{T}</think >{E}',
    "spaces": f"< think >{T}</ think >\n{E}",
    "another closing tag": f"<think>{T}</thinking>\n{E}",
    "namespace (Seed-OSS)": f"<seed:think>{T}</seed:think>{E}",
    "escaped": f"&lt;think&gt;{T}&lt;/think&gt;\n{E}",
    "escaped in capitals": f"&LT;THINK&GT;{T}&LT;/THINK&GT;\n{E}",
    "closing mark only (DeepSeek-R1)": f"{T}\n</think>\n\n{E}",
    "closing bracket only": f"{T}[/THINK]{E}",
    "Magistral": f"[THINK]{T}[/THINK]{E}",
    "Kimi": f"◁think▷{T}◁/think▷{E}",
    "Command A": f"<|START_THINKING|>{T}<|END_THINKING|><|START_RESPONSE|>{E}<|END_RESPONSE|>",
    "OpenThinker": f"<|begin_of_thought|>\n{T}\n<|end_of_thought|>\n\n<|begin_of_solution|>\n{E}\n<|end_of_solution|>",
    "Apertus": f"<|inner_prefix|>{T}<|inner_suffix|>{E}",
    "bars": f"<|think|>{T}<|/think|>{E}",
    "Solar": f"<|think|>{T}<|end|><|begin|>assistant<|content|>{E}",
    "s1": f"<|im_start|>think\n{T}\n<|im_start|>answer\n{E}",
    "process": f"<thinking process>{T}</thinking process>\n{E}",
    "Chinese tags": f"<思考>{T}</思考>\n{E}",
    "ollama run": f"Thinking...\n{T}\n...done thinking.\n\n{E}",
    "Gemma 4": f"<|channel>thought\n{T}\n<channel|>{E}",
    "Granite": f"Here is my thought process:\n\n{T}\n\nHere is my response:\n\n{E}",
    "ERNIE": f"<think>\n{T}\n</think>\n\n<response>\n{E}\n</response>\n",
    "Hunyuan": f"<think>\n{T}\n</think>\n<answer>\n{E}\n</answer>",
    "harmony": f"{ANALYSIS}{T}<|end|>{FINAL}{E}",
    "harmony with its last mark": f"{ANALYSIS}{T}<|end|>{FINAL}{E}<|return|>",
    "harmony from its start": f"<|start|>assistant{ANALYSIS}{T}<|end|>{FINAL}{E}<|return|>",
    "harmony, header in the prompt": f"{T}<|end|>{FINAL}{E}",
    "harmony, channel in the prompt": f"analysis<|message|>{T}<|end|>{FINAL}{E}",
    "harmony without end marks": f"{ANALYSIS}{T}{FINAL}{E}",
    "harmony with constraints": f"{ANALYSIS}{T}<|end|><|start|>assistant<|channel|>final <|constrain|>text<|message|>{E}",
    "harmony without special tokens": f"analysis{T}assistantfinal{E}",
}


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_every_shape_gives_the_same_thought_and_explanation(shape: str) -> None:
    found = separate_thoughts(shape)
    assert (found.thought, found.explanation, found.is_unclosed) == (T, E, False)


@pytest.mark.parametrize(
    ("text", "thought", "explanation"),
    [
        (E, "", E),
        (f"<think>\n\n</think>\n\n{E}", "", E),
        (f"<think/>{E}", "", E),
        (f"</think>{E}", "", E),
        (f"<think>{T}</think>", T, ""),
        (f"<think>{T}</think>\n<answer>9</answer>", T, "Therefore, the answer is 9."),
        (f"<think>{T}</think>\n<answer> 9 shells. </answer>", T, "Therefore, the answer is 9 shells."),
        (f"<think>{T}</think>\n<answer>9", T, "Therefore, the answer is 9."),
        ("4 + 5 = 9.<final answer>9</final answer>", "", "4 + 5 = 9.\nTherefore, the answer is 9."),
        ("So it is <|begin_of_box|>9<|end_of_box|>.", "", "So it is 9."),
        (r"<answer>\boxed{9}</answer>", "", "Therefore, the answer is \\boxed{9}."),
        ("<answer>The answer is 9.</answer>", "", "The answer is 9."),
        ("<answer>4 + 5 = 9</answer>", "", "4 + 5 = 9"),
        ("<think>a</think>One.<think>b</think>Two.", "a\nb", "One.\nTwo."),
        ("Well. <think>a</think> One.", "a", "Well. One."),
        ("<think>I write <think> tags now.</think>One.", "I write tags now.", "One."),
        ("<think>a <think>b</think> c</think> d", "a b\nc", "d"),
        ("<thinking>a <reflection>b</reflection> c</thinking><output>d</output>", "a b c", "d"),
        ("<think>It ends with </think> then. So 9.</think> One.", "It ends with\nthen. So 9.", "One."),
        ("The tag `<think>` opens it.", "", "The tag `<think>` opens it."),
        ("If x < y and y > z, think again.", "", "If x < y and y > z, think again."),
        ("She said [think] twice.", "", "She said [think] twice."),
        (f"{ANALYSIS}a<|end|><|start|>assistant<|channel|>commentary<|message|>b<|end|>{FINAL}c", "a\nb", "c"),
        (f"{ANALYSIS}a<|end|>", "a", ""),
        (f"{FINAL}c<|return|>", "", "c"),
        ("<|start|>assistant<|message|>c<|end|>", "", "c"),
        ("We add.<|end|>", "", "We add.<|end|>"),
        ("Here is my thought process: 4 + 5 = 9.", "", "Here is my thought process: 4 + 5 = 9."),
        ("analysis of the sum: 4 + 5 = 9.", "", "analysis of the sum: 4 + 5 = 9."),
    ],
)
def test_odd_shapes(text: str, thought: str, explanation: str) -> None:
    found = separate_thoughts(text)
    assert (found.thought, found.explanation, found.is_unclosed) == (thought, explanation, False)


@pytest.mark.parametrize(
    "text",
    [
        f"<think>{T}",
        f"<think>a</think>One.<think>{T}",
        f"<thinking>{T}<reflection>b</reflection> c",
        f"[THINK]{T}",
        f"{ANALYSIS}{T}",
        f"{ANALYSIS}a<|end|><|start|>assistant{ANALYSIS}{T}",
        f"analysis{T}",
        f"<|channel>thought\n{T}",
    ],
)
def test_a_thought_without_its_end_is_unclosed(text: str) -> None:
    found = separate_thoughts(text)
    assert found.is_unclosed
    assert found.thought.endswith((T, "c"))


@pytest.mark.parametrize(
    ("text", "given", "thought"),
    [
        (E, T, T),
        (E, f"<think>\n{T}\n</think>", T),
        (f"<think>{T}</think>{E}", T, T),
        (f"<think>b</think>{E}", "a", "a\nb"),
        (E, " \n ", ""),
    ],
)
def test_a_thought_in_its_own_field(text: str, given: str, thought: str) -> None:
    found = separate_thoughts(text, given)
    assert (found.thought, found.explanation) == (thought, E)


@pytest.mark.parametrize(
    ("prompt", "mark"),
    [
        ("<|im_start|>assistant\n<think>\n", "<think>"),
        ("<|im_start|>assistant\n<think>\n\n</think>\n\n", ""),
        ("<|im_start|>assistant\n", ""),
        ("Say <think> and answer.<|im_end|>\n<|im_start|>assistant\n", ""),
        (f"<|start|>assistant{ANALYSIS}", ANALYSIS),
        ("<|start|>assistant<|channel|>final<|message|>", ""),
        ("[INST]How many?[/INST][THINK]", "[THINK]"),
    ],
)
def test_the_prompt_may_open_the_thought(prompt: str, mark: str) -> None:
    assert opened_thought(prompt) == mark


def test_special_tokens_that_a_decoder_must_keep() -> None:
    ordinary = {"<pad>", "</s>", "<|im_end|>", "<|endoftext|>", "<|eot_id|>"}
    assert marks_among(ordinary) == frozenset()
    assert marks_among({*ordinary, "<think>", "</think>", "[/THINK]"}) == {"<think>", "</think>", "[/THINK]"}
    assert marks_among({*ordinary, "<|end|>", "<|start|>"}) == frozenset(), "these end turns in other formats"
    harmony = {"<|start|>", "<|channel|>", "<|message|>", "<|end|>", "<|return|>"}
    assert marks_among(ordinary | harmony) == harmony


PROSE = (
    st.text(st.characters(codec="utf-8", exclude_characters="<>[]◁▷&`'\""), min_size=1)
    .map(str.strip)
    .filter(lambda text: text and "analysis" not in text)
)
BETWEEN = ("", " ", "\n", "\n\n")


@given(thought=PROSE, explanation=PROSE, between=st.sampled_from(BETWEEN), shape=st.sampled_from(sorted(SHAPES)))
def test_composing_and_separating_gives_both_back(thought: str, explanation: str, between: str, shape: str) -> None:
    template = SHAPES[shape].replace(T, "\x00").replace(E, between + "\x01")
    if "answer>" in template or "without special" in shape:
        # A short answer in tags becomes an answer sentence; words instead of marks need a capital letter.
        thought, explanation = "W" + thought, f"1 = 1 {explanation}"
    text = template.replace("\x00", thought.replace("\x01", "")).replace("\x01", explanation.replace("\x00", ""))
    found = separate_thoughts(text)
    assert found.thought == thought.replace("\x01", "").strip()
    assert found.explanation == explanation.replace("\x00", "").strip()
    assert not found.is_unclosed


PIECES = ("<think>", "</think>", "<thinking>", "</thinking>", "[THINK]", "[/THINK]", "<|channel|>", "analysis", "final",
          "<|message|>", "<|end|>", "<|start|>", "assistant", "<answer>", "</answer>", "<|channel>", "<channel|>", "<", ">",
          "`", " ", "\n", "9", "a.", "assistantfinal", "Here is my thought process:", "Here is my response:")  # fmt: skip


@given(st.lists(st.sampled_from(PIECES)).map("".join), st.lists(st.sampled_from(PIECES)).map("".join))
def test_nothing_raises_and_no_tag_of_a_thought_stays(text: str, field: str) -> None:
    found = separate_thoughts(text, field)
    assert separate_thoughts(text, field) == found
    if "`" not in text + field and not found.is_unclosed:
        assert "</think>" not in found.thought + found.explanation
        assert "<thinking>" not in found.explanation


@pytest.mark.parametrize(
    "piece",
    ["<think>", "</think>", "< ", "<think ", "<|channel|>", "<|start|>", "<|message|>", "<|end|>", "&lt;", "<answer>",
     "<|channel|>analysis", "Here is my response:", "\n", "[", "<think>a</think>b ", "analysis<|message|>"],
)  # fmt: skip
def test_time_is_linear(piece: str) -> None:
    def seconds(repeats: int) -> float:
        text = "Here is my thought process:" + piece * repeats
        begun = time.process_time()
        separate_thoughts.__wrapped__(text)
        return time.process_time() - begun

    one = min(seconds(5_000) for _ in range(3))
    four = min(seconds(20_000) for _ in range(3))
    assert four < 12 * one + 0.05, f"{one:.4f} s, then {four:.4f} s for four times the text"
