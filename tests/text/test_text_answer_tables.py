"""What is read from every form of answer: announcements in four languages, refusals, money and times, choices, replies."""

from __future__ import annotations

import pytest

from kpodx.schema import AnswerKind
from kpodx.text.answers import AnswerReading, read_answer, read_reply

NUMBER, CHOICE, YES_NO, TEXT = AnswerKind.NUMBER, AnswerKind.CHOICE, AnswerKind.YES_NO, AnswerKind.TEXT
PLACES = ("zoo", "body of water", "wooded area", "pay debts", "sea")
NOTHING = AnswerReading(None)


def announced(text: str, kind: AnswerKind, choices: tuple[str, ...] = (), question: str = "") -> str | None:
    """Return the announced answer of a text; fail if it is stated or guessed."""
    reading = read_answer(text, kind, choices, question)
    assert reading.source in ("announced", None), reading
    return reading.answer


@pytest.mark.parametrize(
    "text",
    [
        "The answer is 18.",
        "So the final answer is: 18",
        "Answer: 18",
        "**Final Answer:** 18",
        "ANS: 18",
        "Ans = 18",
        "Ans. 18",
        "The answer's 18.",
        "He has 3.\nAnswer 18",
        "She sells 9 eggs.\nFinal answer - 18",
        "The answer must be 18.",
        "The answer should be 18 dollars.",
        "We get a final answer of 18.",
        "The answer to this question is therefore 18.",
        "Therefore, the answer (arabic numerals) is 18.",
        "Thus, the numerical answer (in dollars) is $18.",
        "18 is the answer.",
        "So 18 dollars is the correct answer.",
        "The final result is 18.",
        "The answer here comes out to 18",
        "The answer is \\(18\\).",
        "The answer is $\\boxed{18}$.",
        "The answer is:\n\\[\n\\boxed{18}\n\\]",
        "#### 18",
    ],
)
def test_english_announcements(text: str) -> None:
    assert announced("She has 7 of 9. " + text, NUMBER) == "18"


@pytest.mark.parametrize(
    ("text", "kind", "answer"),
    [
        ("Sie hat 20 - 2 = 18 Eier. Die Antwort lautet 18.", NUMBER, "18"),
        ("Sie hat 7 von 9. Die Antwort ist 18 Euro.", NUMBER, "18"),
        ("Antwort: 18", NUMBER, "18"),
        ("**Antwort:** 18", NUMBER, "18"),
        ("Also lautet die Antwort: 18", NUMBER, "18"),
        ("Die endgültige Antwort ist 1.200 Euro.", NUMBER, "1200"),
        ("Die Antwort beträgt 3,5 Liter.", NUMBER, "3.5"),
        ("Das Endergebnis ist 18.", NUMBER, "18"),
        ("Die Lösung lautet: 18", NUMBER, "18"),
        ("Antwort: B", CHOICE, "B"),
        ("Die richtige Antwort ist also (B).", CHOICE, "B"),
        ("Die richtige Antwort ist wahrscheinlich B, denn A ist falsch.", CHOICE, "B"),
        ("Option B ist richtig.", CHOICE, "B"),
        ("Die Antwort lautet ja.", YES_NO, "yes"),
        ("Daher ist die Antwort: Nein", YES_NO, "no"),
        ("Antwort: nein, denn es sinkt.", YES_NO, "no"),
        ("Die Antwort lautet \u201eBerlin\u201c.", TEXT, "Berlin"),
    ],
)
def test_german_announcements(text: str, kind: AnswerKind, answer: str) -> None:
    assert announced(text, kind) == answer


@pytest.mark.parametrize(
    ("text", "kind", "answer"),
    [
        ("Tiene 20 - 2 = 18. La respuesta es 18.", NUMBER, "18"),
        ("Respuesta: 18", NUMBER, "18"),
        ("**Respuesta final:** 18", NUMBER, "18"),
        ("Por lo tanto, la respuesta correcta es 18 dólares.", NUMBER, "18"),
        ("La solución es 18.", NUMBER, "18"),
        ("El resultado final es 3,5.", NUMBER, "3.5"),
        ("La respuesta es 1.250 metros.", NUMBER, "1250"),
        ("La respuesta correcta es (B).", CHOICE, "B"),
        ("La opción correcta es la B.", CHOICE, "B"),
        ("La opción B es la correcta.", CHOICE, "B"),
        ("Respuesta: B) el mar", CHOICE, "B"),
        ("La respuesta es sí.", YES_NO, "yes"),
        ("Respuesta: No", YES_NO, "no"),
        ("La respuesta es Madrid.", TEXT, "Madrid"),
    ],
)
def test_spanish_announcements(text: str, kind: AnswerKind, answer: str) -> None:
    assert announced(text, kind) == answer


@pytest.mark.parametrize(
    ("text", "kind", "answer"),
    [
        ("她有9*2=18元。答案是：18", NUMBER, "18"),
        ("答案：18", NUMBER, "18"),
        ("所以答案是18元。", NUMBER, "18"),
        ("因此，最终答案为１８。", NUMBER, "18"),
        ("**答案：** 18", NUMBER, "18"),
        ("正确答案是 1,200 元", NUMBER, "1200"),
        ("答案是１，２００", NUMBER, "1200"),
        ("答：她每天赚18美元。", NUMBER, "18"),
        ("答案等于1.5万元", NUMBER, "15000"),
        ("答案是B。", CHOICE, "B"),
        ("正确答案：（B）", CHOICE, "B"),
        ("故选：B。", CHOICE, "B"),
        ("因此，应选B", CHOICE, "B"),
        ("答案是Ｂ", CHOICE, "B"),
        ("选项B正确。", CHOICE, "B"),
        ("答案是：是", YES_NO, "yes"),
        ("答案是：不是。", YES_NO, "no"),
        ("答案：错误", YES_NO, "no"),
        ("答案是北京。它是首都。", TEXT, "北京"),
    ],
)
def test_chinese_announcements(text: str, kind: AnswerKind, answer: str) -> None:
    assert announced(text, kind) == answer


@pytest.mark.parametrize(
    "text",
    [
        "He has 3 or 5. The answer is (None of the above).",
        "The answer is none of these.",
        "He has 3. The answer is that it depends on 5 things.",
        "He has 3. The answer cannot be known. The answer is unknown.",
        "It is 3. The answer is: cannot be determined from the 5 facts.",
        "It is 3. The answer is that we can't tell.",
        "It is 3. The answer is impossible to calculate without 2 more facts.",
        "It is 3. The answer is not given.",
        "It is 3. Answer: N/A",
        "It is 3. Answer: insufficient information (only 2 facts)",
        "It is 3. The answer is undefined.",
        "It is 3. Answer: there is no solution.",
        "It is 3. \\boxed{\\text{cannot be determined}}",
        "It is 3. #### unknown",
        "He has 3 left. The answer is",
        "He has 3 left. Therefore, the answer",
        "He has 3 left. The final answer is:",
        "He has 3 left. \\boxed{",
        "He has 3 left. \\boxed{}",
        "The answer is 5. No, that is wrong. The answer is",
        "The answer is 3 or 5.",
        "The answer is 3, 4, and 5.",
        "The answer is \\sqrt{51}.",
        "The answer is 9\\pi.",
        "The answer is a house.",
        "Sie hat 3. Die Antwort ist unbekannt.",
        "Sie hat 3. Die Antwort lautet: kann nicht bestimmt werden, es fehlen 2 Werte.",
        "Tiene 3. La respuesta es que no se puede determinar.",
        "她有3个。答案是：无法确定。",
    ],
)
def test_an_announcement_that_gives_no_number_leaves_none(text: str) -> None:
    assert read_answer(text, NUMBER) == NOTHING


@pytest.mark.parametrize(
    "text",
    [
        "Of these, (A) fits. The answer is (None of the above).",
        "(A) fits. The answer is none of the options.",
        "(A) fits. The answer is A, B, or D.",
        "(A) fits. The answer is A or B.",
        "(A) fits. The answer is either (d) or (e).",
        "(A) fits. The answer is (a) zoo or (c) wooded area.",
        "(A) fits. The answer is both A and C.",
        "(A) fits. The answer is neither A nor B.",
        "(A) fits. The answer is B/C.",
        "(A) fits. The answer is A & B.",
        "(A) fits. The answer is B (or C).",
        "(A) fits. The answer is (A), (B).",
        "(A) fits. Answer: It depends.",
        "(A) fits. The answer cannot be (B). The answer is unclear.",
        "(A) fits. The answer is not determinable, but maybe (B).",
        "(A) fits. The answer is one of these four.",
        "The answer is A. No: the answer is A or B.",
        "(A) fits. Therefore, among A through E, the answer is",
        "(A) fits. The answer is (",
        "(A) fits. The answer is (f).",
        "The correct answer is not listed. Maybe (A).",
        "(A) passt. Die Antwort ist nicht eindeutig.",
        "(A) passt. Antwort: A oder B",
        "La respuesta es A o B.",
        "答案是A或B。",
        "答案是：无法确定，A和B都对。",
    ],
)
def test_an_announcement_that_chooses_nothing_leaves_none(text: str) -> None:
    assert read_answer(text, CHOICE, PLACES) == NOTHING


@pytest.mark.parametrize(
    ("choices", "text", "letter"),
    [
        (("sea", "none of the above"), "The answer is none of the above.", "B"),
        (("yes", "it cannot be determined"), "The answer is it cannot be determined.", "B"),
        (("sea", "none of these"), "The answer is (B) none of these.", "B"),
        (("sea", "zoo", "none"), "The answer is (C) none, as (A) and (B) fail.", "C"),
        (PLACES, "The answer is B. Option (A) is wrong.", "B"),
        (PLACES, "The answer is B. The answer is a place with ducks.", "B"),
        (PLACES, "The answer is (B), since (A) is wrong and (C) is too.", "B"),
        (PLACES, "The answer is B because option (A) is dry.", "B"),
        (PLACES, "The answer is A because it has bars.", "A"),
        (PLACES, "The answer is most likely B.", "B"),
        (PLACES, "The answer is probably (b) body of water.", "B"),
        (PLACES, "The answer must be B.", "B"),
        (PLACES, "The answer must be option (B).", "B"),
        (PLACES, "Option B is right.", "B"),
        (PLACES, "Option (B) is the correct answer.", "B"),
        (PLACES, "B is the correct option.", "B"),
        (PLACES, "(B) is the best answer.", "B"),
        (PLACES, "I would choose option B.", "B"),
        (PLACES, "The answer is \\(B\\).", "B"),
        (PLACES, "The answer is $\\text{(B)}$", "B"),
        (PLACES, "The answer is \\textbf{(B)}", "B"),
        (PLACES, "\\boxed{\\mathrm{B}}", "B"),
        (PLACES, "The answer is \\boxed{\\textbf{(B) }body of water}", "B"),
        (PLACES, "Answer (A-E): B", "B"),
        (PLACES, "It holds water.\nAnswer B", "B"),
        (PLACES, "ANS: B", "B"),
        (PLACES, "Answer B: body of water.", "B"),
        (PLACES, "It holds water. Correct: B", "B"),
        (PLACES, '{"answer": "B"}', "B"),
        (PLACES, "<answer>B</answer>", "B"),
        (PLACES, "The answer: (A) is wrong, (B) is right.", "B"),
        (PLACES, "It holds water. Choice B.", "B"),
        (PLACES, "Correct answer - B", "B"),
        (PLACES, "Therefore, among A through E, the answer is B.", "B"),
        (PLACES, "The correct letter is B", "B"),
        (PLACES, "The answer is **B) body of water**", "B"),
        (PLACES, "The answer is [B].", "B"),
        (PLACES, "The answer is B: body of water", "B"),
        (PLACES, "The answer is B - body of water", "B"),
        (PLACES, "The answer is the body of water (B).", "B"),
        (("1/2", "7/16"), "The answer is (B) P(R) = 7/16", "B"),
        ((), "The answer is (E) P(R) = 7/16", "E"),
        ((), "The answer is k_{B}T, option (C).", "C"),
        (("5", "-5"), "The answer is -5.", "B"),
        (("-5", "5"), "The answer is 5.", "B"),
        (("5", "-5"), "The answer is \u22125", "B"),
        (("5", "2.5", "25"), "The answer is 2.5.", "B"),
        (("$5", "$1,200"), "The answer is 1200 dollars.", "B"),
        (("12 miles", "18 miles"), "The answer is 18.", "B"),
        (("5", "10", "15"), "The answer is 5 + 5 = 10.", "B"),
    ],
)
def test_choices(choices: tuple[str, ...], text: str, letter: str) -> None:
    assert announced(text, CHOICE, choices) == letter


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("The answer is thirty-four dollars and seventy-two cents.", "34.72"),
        ("The answer is 34 dollars and 72 cents.", "34.72"),
        ("The answer is $34 and 72 cents.", "34.72"),
        ("The answer is five dollars and five cents.", "5.05"),
        ("The answer is 2 euros and 50 cents.", "2.5"),
        ("The answer is 3 pounds and 20 pence.", "3.2"),
        ("The answer is 72 cents.", "72"),
        ("The answer is 1.5 million dollars.", "1500000"),
        ("The answer is £12.50.", "12.5"),
        ("The answer is 5 dollars for 20 cents' worth.", "5"),
        ("The answer is 4 hours and 30 minutes.", None),
        ("The answer is 4 hours 30 minutes.", None),
        ("The answer is 2 feet and 6 inches.", None),
        ("The answer is 7:30 p.m.", None),
        ("The answer is 7:00 p.m.", "7"),
        ("The answer is 3 hours.", "3"),
        ("The answer is 2.5 hours (2 hours and 30 minutes).", "2.5"),
        ("The answer is from 5 to 6 hours.", None),
        ("The answer is 86 glasses and 42 plates.", None),
        ("The answer is 27 selfies and 18 portraits.", None),
        ("The answer is 75 kilograms to her cousin and 100 kilograms to her brother.", None),
        ("The answer is (14, 21).", None),
        ("The answer is x = 3 and y = 4.", None),
        ("The answer is 5 & 6.", None),
        ("The answer is 5; 6.", None),
        ("The answer is Tom has 3 apples and Ann has 4 apples.", None),
        ("The answer is Tom 3, Ann 4.", None),
        ("The answer is $3 for apples and $4 for pears.", None),
        ("The answer is $3 for apples and $4 for pears, or $7 in all.", "7"),
        ("The missing number is 7. The answer is the missing number 18.", "18"),
        ("The answer is 90^\\circ.", "90"),
        ("The answer is 12 \\frac{3}{5}.", "12.6"),
        ("The answer is \\frac43.", "4/3"),
        ("The answer is 18 °C.", "18"),
        ("The answer is 18 dollars for 3 days.", "18"),
        ("The answer is:\n\\[ 16 - 3 + 5 = 18 \\]", "18"),
        ("So the answer is:\n\n$$\n\\frac{36}{2} = 18\n$$", "18"),
    ],
)
def test_units_money_and_times(text: str, answer: str | None) -> None:
    assert announced(text, NUMBER) == answer


@pytest.mark.parametrize(
    ("text", "question", "answer"),
    [
        ("153 sacks after 55 days", "How many sacks of oranges will they have after 55 days of harvest?", "153"),
        ("In 55 days, 153 sacks.", "How many sacks will they have after 55 days?", "153"),
        ("55 days later, they have 153 sacks.", "How many sacks will they have after 55 days?", "153"),
        ("They will have 153 sacks after 55 days.", "How many sacks will they have after 55 days?", "153"),
        ("After 55 days, they will have 153 sacks.", "How many sacks will they have?", "153"),
        ("So it takes 12 minutes for 3 pages.", "How many minutes does it take?", "12"),
        ("So he reads 12 pages in 3 hours.", "How many pages does he read?", "12"),
        ("He pays $40 for 8 books.", "How much does he pay?", "40"),
        ("He pays 40 dollars for 8 books.", "How much money did he spend?", "40"),
        ("There are 5 children for 2 adults.", "How many children are there?", "5"),
        ("She bakes 24 cookies with 3 friends.", "What is the total number of cookies?", "24"),
        ("That is 60 minutes or 1 hour.", "How many hours will it take?", "1"),
        ("So it is 240 / 480 = 0.5 or 50%.", "What percentage of the day is it?", "50"),
        ("She needs 6 boxes of 12 eggs.", "How many boxes does she need?", "6"),
        ("He has 86 glasses and 42 plates.", "How many plates does he have?", "42"),
        ("He has 86 glasses and 42 plates.", "How many glasses and plates does he have?", None),
        ("He has 86 glasses and 42 plates.", "How many things does he have?", None),
        ("It took 4 hours and 30 minutes.", "How many hours did it take?", None),
    ],
)
def test_the_unit_that_the_question_asks_for(text: str, question: str, answer: str | None) -> None:
    reading = read_answer("He begins with 7. " + text, NUMBER, (), question)
    assert reading == (NOTHING if answer is None else AnswerReading(answer, "stated"))
    assert announced("The answer is that by the end of it all " + text, NUMBER, (), question) == answer


@pytest.mark.parametrize(
    ("text", "kind", "reading"),
    [
        ("Thus 3 remain. He then buys 5 more and has 8.", NUMBER, AnswerReading("8", "guessed")),
        ("Thus he has 12. Now 4 are sold for 8.", NUMBER, AnswerReading("8", "guessed")),
        ("He has 3. So he has 3 + 4 = 7 now.", NUMBER, AnswerReading("7", "stated")),
        ("He has 3 and 4 of those. In total 7.", NUMBER, AnswerReading("7", "stated")),
        ("The sum of it is:\n$$\n3 + 4 = 7\n$$\nwhere 4 is what he was given.", NUMBER, AnswerReading("7", "stated")),
        ("It has bars. So it is (B).", CHOICE, AnswerReading("B", "stated")),
        ("(A) is dry. Of the choices, only a zoo and a sea have it.", CHOICE, AnswerReading("E", "guessed")),
        ("So it is not (A).", CHOICE, NOTHING),
        ("It can be (B), and it is not (A).", CHOICE, AnswerReading("B", "stated")),
        ("So it must be (B), since (A) is dry.", CHOICE, AnswerReading("B", "stated")),
        ("So the cost of it is $18 ($2 per egg).", NUMBER, AnswerReading("18", "stated")),
        ("153 sacks after 55 days", NUMBER, NOTHING),
        ("(B) fits. (A) is wrong because it is dry.", CHOICE, AnswerReading("B", "guessed")),
        ("Yes, because it floats.", YES_NO, AnswerReading("yes", "stated")),
        ("It sinks, so no.", YES_NO, AnswerReading("no", "stated")),
        ("3 + 4 = 7.", NUMBER, AnswerReading("7", "stated")),
        ("B. body of water", CHOICE, AnswerReading("B", "stated")),
        ("18", NUMBER, AnswerReading("18", "stated")),
        ("18\n\nExplanation: She sells 9 eggs at $2.", NUMBER, AnswerReading("18", "stated")),
        ("**$18**\nShe sells 9 eggs at $2.", NUMBER, AnswerReading("18", "stated")),
        ("1.\nShe sells them. That makes 18 dollars.", NUMBER, AnswerReading("18", "stated")),
        ("B\n\nReason: (A) is dry.", CHOICE, AnswerReading("B", "stated")),
        ("(B) body of water\nThe zoo, (A), is dry.", CHOICE, AnswerReading("B", "stated")),
        ("No\nIt is true that it floats.", YES_NO, AnswerReading("no", "stated")),
        ("Daher hat sie 18 Eier.", NUMBER, AnswerReading("18", "stated")),
        ("Por lo tanto, tiene 18 huevos.", NUMBER, AnswerReading("18", "stated")),
        ("她有20个。所以她还有18个鸡蛋。", NUMBER, AnswerReading("18", "stated")),
        ("Réponse : B", CHOICE, NOTHING),
        ("Ответ: B", CHOICE, NOTHING),
        ("Risposta: (A) è sbagliata", CHOICE, NOTHING),
        ("Vastaus: 5 tai 6 omenaa, siis 7 omenaa", NUMBER, NOTHING),
        ("Elle a 3 pommes et mange 5 pommes", NUMBER, NOTHING),
        ("Paris", TEXT, NOTHING),
    ],
)
def test_texts_without_an_announcement(text: str, kind: AnswerKind, reading: AnswerReading) -> None:
    assert read_answer(text, kind, PLACES if kind is CHOICE else ()) == reading


@pytest.mark.parametrize(
    ("reply", "kind", "answer"),
    [
        (" 18.", NUMBER, "18"),
        ("18 eggs", NUMBER, "18"),
        ("Therefore, the answer (arabic numerals) is 18.", NUMBER, "18"),
        ("The answer is $18.", NUMBER, "18"),
        ("\\boxed{18}", NUMBER, "18"),
        ("9 * 2 = 18", NUMBER, "18"),
        ("答案是18", NUMBER, "18"),
        ("18.\n\nQ: How many? A: 3", NUMBER, "18"),
        ("It cannot be determined from 3 facts.", NUMBER, None),
        ("", NUMBER, None),
        ("(B)", CHOICE, "B"),
        ("B.", CHOICE, "B"),
        ("the body of water.", CHOICE, "B"),
        ("Therefore, among the answer choices, the answer is (B).", CHOICE, "B"),
        ("A or B", CHOICE, None),
        ("Yes.", YES_NO, "yes"),
        ("(Yes or No) is no.", YES_NO, "no"),
        ("Therefore, the answer (Yes or No) is yes.", YES_NO, "yes"),
        ("Yes or No: No", YES_NO, "no"),
        ("(yes or no)", YES_NO, None),
        ("yes or no", YES_NO, None),
        ("Paris.", TEXT, "Paris"),
        ("The answer is Paris.", TEXT, "Paris"),
    ],
)
def test_replies_to_the_second_question(reply: str, kind: AnswerKind, answer: str | None) -> None:
    expected = NOTHING if answer is None else AnswerReading(answer, "announced")
    assert read_reply(reply, kind, PLACES if kind is CHOICE else ()) == expected


@pytest.mark.parametrize(
    ("reply", "reading"),
    [
        ("She sells 9 eggs at $2. So she makes 18.", AnswerReading("18", "stated")),
        ("She sells 9 eggs at $2. The answer is 18.", AnswerReading("18", "announced")),
        ("18. She sells 9 eggs at $2.", AnswerReading("18", "announced")),
        ("$18 per day, as computed above. She sells 9 eggs.", AnswerReading("18", "announced")),
        ("There are 3 or 5 of them. It depends.", NOTHING),
    ],
)
def test_a_reply_may_reason_again(reply: str, reading: AnswerReading) -> None:
    assert read_reply(reply, NUMBER) == reading


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("It floats. Therefore, the answer (Yes or No) is yes.", "yes"),
        ("It sinks. The answer (yes/no) is: no", "no"),
        ("The answer (true or false) is false.", "no"),
        ("The answer is definitely yes.", "yes"),
        ("The answer is that no, it cannot float.", "no"),
        ("The answer is yes and no.", None),
        ("The answer is yes or no.", None),
        ("The answer (yes or no) is", None),
        ("The answer is (yes or no).", None),
        ("The answer is unknown, though some say yes.", None),
        ("It floats (yes or no)?", None),
        ("The answer is not true.", "no"),
        ("The answer is not false.", "yes"),
        ("Die Antwort (ja oder nein) lautet ja.", "yes"),
        ("Die Antwort lautet (ja oder nein): nein", "no"),
        ("Antwort: ja oder nein", None),
        ("La respuesta (sí o no) es no.", "no"),
        ("Respuesta: sí o no", None),
        ("答案（是或否）是：否", "no"),
        ("答案：是或否", None),
    ],
)
def test_yes_or_no(text: str, answer: str | None) -> None:
    assert announced(text, YES_NO) == answer


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("The answer is 18. The answer is correct.", "18"),
        ("The answer is 18. This answer is reasonable, as 9 * 2 is 18.", "18"),
        ("The answer is 18. The answer is in dollars.", "18"),
        ("The answer is not 5. He has 7.", "7"),
        ("The answer is 18. Let me know if the answer is helpful.", "18"),
        ("The answer is 18. The answer is the number of dollars.", "18"),
        ("#### Step 1: Add\n9 + 9 = 18\n#### Step 2: Check\nSo it is 18.", "18"),
        ("#### Step 3: Total\n9 * 2 = 18\n\n#### 18", "18"),
        ("The answer is\n\\begin{aligned} x &= 20 - 2 \\\\ &= 18 \\end{aligned}", "18"),
    ],
)
def test_a_remark_about_the_answer_is_not_an_announcement(text: str, answer: str) -> None:
    assert read_answer(text, NUMBER).answer == answer


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("Tom had 3 apples. He gets 4 more, and 3 + 4 = 7.", "7"),
        ("She pays $5 for lunch and 5 + 3 = 8 in all.", "8"),
        ("There are 12 eggs and 12 - 5 = 7 are left.", "7"),
        ("They have 2 + 3 = 5 cats and 1 + 3 = 4 dogs.", None),
        ("He drank 86 glasses and 42 plates.", None),
    ],
)
def test_a_figure_beside_a_sum_is_not_a_second_result(text: str, answer: str | None) -> None:
    assert read_answer(text, AnswerKind.NUMBER).answer == answer


CHOICES_OF_PLACES = ("bank", "library", "mall")


@pytest.mark.parametrize(
    ("text", "kind", "answer"),
    [
        ("**Answer:** 72\n\n*Note: a common wrong answer is 96, which doubles 48.*", AnswerKind.NUMBER, "72"),
        ("The answer is 72. If she had sold twice as many, the answer would be 144.", AnswerKind.NUMBER, "72"),
        ("The correct answer is A. If it were about books, the answer would be B.", AnswerKind.CHOICE, "A"),
        ("If 3 cost 12, the answer would be 4.", AnswerKind.NUMBER, "4"),
        ("So the answer is 96... no wait, it's 72.", AnswerKind.NUMBER, None),
        ("The answer is 96, no, 72.", AnswerKind.NUMBER, None),
        ("Earlier I said the answer is 96, but that's wrong. It should be 72.", AnswerKind.NUMBER, None),
        ("The answer is 15. Wait, I forgot the tax: 15 + 2 = 17. So the final answer is 17.", AnswerKind.NUMBER, "17"),
        ("The answer is 12 minutes, so he can wait for the bus.", AnswerKind.NUMBER, "12"),
    ],
)
def test_retractions_and_remarks_about_other_answers(text: str, kind: AnswerKind, answer: str | None) -> None:
    assert read_answer(text, kind, CHOICES_OF_PLACES if kind is AnswerKind.CHOICE else ()).answer == answer
