r"""Golden tables of step splitting: "‖" marks where a step ends and the next one begins."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kpodx.text.steps import step_texts

GOLDEN = {
    "German abbreviations and ordinal numbers": [
        "Am 3. Mai kauft sie 5 Äpfel. ‖Danach geht sie.",
        "Sie kommt am 12. Dezember an. ‖Es ist kalt.",
        "Im 19. Jahrhundert gab es 5 davon. ‖Heute sind es 7.",
        "Vom 3. bis zum 5. Tag liest sie 40 Seiten. ‖Danach ruht sie.",
        "Es gibt u. a. Äpfel und z. B. 3 Birnen, d. h. 6 Stück. ‖Das ist viel.",
        "Sie kauft i. d. R. 5 Äpfel, v. a. rote. ‖Sie zahlt z. T. bar.",
        "Sie hat ca. 5 Äpfel bzw. Birnen, ggf. Nüsse. ‖Sie zahlt inkl. MwSt. 6 Euro.",
        "Es sind mind. 5 Stück, vgl. Abb. 3. ‖Das reicht.",
        "Die Fahrt dauert 3 Std. 20 Min. ‖Danach ruht er.",
        "Sie hat 3. ‖Maria hat 4. ‖Das macht 7. ‖Somit reicht es.",
        "Sie verkauft im April 48 und im Mai 24. ‖April war besser.",
        "She had it in mind. ‖Then she sold 5. ‖April was better.",
        "Sie kauft Obst usw. ‖Danach zahlt sie.",
    ],
    "display formulas": [
        "We have\n\\[\nx = 3. Then\n\\]\nwhere x is 3. ‖Next",
        "To find it, we use\n\n\\[\n3 \\times 4 = 12.\n\\]\n\n‖Therefore, it is 12.",
        "Now\n\n$$\n\\begin{aligned}\nx &= 7 \\\\\ny &= 4. \\\\[2pt]\n\\end{aligned}\n$$\n\n‖Thus $y = 4$.",
        "The area is $$A = \\pi r^2.$$ ‖Then we add.",
        "The area is $$A = B$$ and it is small. ‖Then we add.",
        "So \\[ x = 3 \\] ‖Then we add.",
        "**Step 1:** Add.\n‖\\[ 3 + 5 = 8 \\]\n‖**Step 2:** Halve.\n‖\\[ 8 / 2 = 4 \\]\n‖Done.",
        "Hence\n\\begin{align*}\na &= b. \\\\\nc &= d.\n\\end{align*}\n‖Done. ‖So",
        "By \\begin{equation} x = \\frac{1. A}{2} \\end{equation} we get x.\n‖Then",
        "1. Compute:\n   \\[ 3. \\]\n‖2. Add.",
        "\\[ a = 1 \\]\n‖\\[ b = 2 \\]\n‖Then",
        "It is\n\\[ x = 3 \\]\n, so we stop. ‖Then",
        "\\begin{cases} a. B \\\\ \\begin{cases} c. D \\end{cases} e. F \\end{cases} ‖Then",
        "We need \\[ x = 3. Then we stop",
        "The prices are $$ (cheap) and $$$ (dear). ‖Tom pays $5. ‖Then",
        "Add:\n$$\n\na. B\n\n$$\nto get it. ‖Then",
        "Is \\(x = 3. \\text{ Or } 4\\) it? ‖Yes",
        "So $\\text{a. B} = 3$. ‖It costs $5. ‖Then $x = 4.$ ‖Then",
        "Is \\(x = 3.\\) ‖Then",
        "Note that\n\\[ x \\]\n‖b) is next.\n‖c) Then",
    ],
    "code blocks": [
        "Run this:\n\n```python\nx = 1. A\n\nprint(x)\n```\n\n‖It prints 1. ‖Done.",
        "```\na. B\nc. D\n```\n‖Then",
        "Run it.\n‖```python\nx = 1\n```\n‖Then",
        "Use\n~~~\nx. Y\n~~~\nto add. ‖Then",
        "Write\n````md\n```\nx. Y\n```\n````\n‖Then",
        "Write\n```python\nx = 1\ny. Z\n",
        "Stray.\n```\n‖Then we go. ‖Done",
        "Call `x. Y` here. ‖Then",
        "Call ```x. Y``` here. ‖Then",
        "Compute:\n    ```\n    x. Y\n    ```\n‖Then",
        "> ```\n> x. Y\n> ```\n‖Then",
        "Run\n```sql\nSELECT \\[ x. Y\n```\nnow. ‖Then",
        "```python\nx = 1\n```\n‖```output\n1. A\n```\n‖Then",
    ],
    "lists": [
        "a) First\n‖b) Second\n‖c) Third",
        "a. First one. ‖b. Second one. ‖c. Third one.",
        "A. First one. ‖B. Second one.",
        "(a) x is even. ‖(b) x is odd.",
        "a)\nFirst\n‖b)\nSecond",
        "1) First\n‖2) Second",
        "1.\nFirst\n‖2.\nSecond",
        "1. **Add**: 3 + 5 = 8.\n‖2. **Halve**: 8 / 2 = 4.",
        "- 1. First\n‖- 2. Second",
        "**1.** First. ‖**2.** Second.",
        "Step 1. Add. ‖Step 2. Halve.",
        "**Step 1:**\nAdd. ‖**Step 2:**\nHalve.",
        "Part (a): Add 3. ‖Part (b): Halve it.\n‖Part (c)\nGo.",
        "There are two cases: a. x is even. ‖b. x is odd.",
        "> 1. First\n‖> 2. Second",
        "Step a. Add. ‖Step b. Halve.",
    ],
    "Roman numerals": [
        "I. First. ‖II. Second. ‖III. Third.",
        "i. First\n‖ii. Second\n‖iii. Third",
        "(i) First\n‖(ii) Second",
        "(i)\nFirst\n‖(ii)\nSecond",
        "IV) Fourth. ‖V) Fifth.",
        "Case I. n is even. ‖Case II. n is odd.",
        "Step IV. Add. ‖Step V. Halve.",
        "**II.** Second. ‖**III.** Third.",
        "It was World War II. ‖Then it ended.",
        "Henry VIII. was king. ‖Then",
        "See Vol. II. ‖Then",
        "xi. Eleventh. ‖xii. Twelfth. ‖xxxix. Last.",
        "civil. ‖Then",
        "x. ‖The answer is n. ‖Then",
    ],
    "months and days": [
        "He came on Sept. 8th. ‖Then he left.",
        "On Jan. 5, 1990 he came. ‖Then",
        "It was Dec. 3. ‖He left.",
        "In Feb. and Mar. he ran. ‖Then",
        "He left in Aug. ‖She stayed.",
        "On Oct. 31st it ends. ‖Then",
        "Nov. 8 is next. ‖Then",
        "On Fri. 5 men came. ‖Then",
        "On Sun. ‖Dec. 3 is next.",
        "Apr. 1 and Jun. 2 and Jul. 3. ‖Then",
        "The cat sat. ‖5 men came.",
        "He sat in the sun. ‖3 men came.",
        "From Tues. to Thurs. he ran. ‖Then",
    ],
    "initials and titles": [
        "P. G. Wodehouse wrote it. ‖Then",
        "J.K. Rowling and J. R. R. Tolkien wrote. ‖They ran.",
        "J.R.R. Tolkien wrote. ‖Then",
        "George W. Bush met Harry S. Truman. ‖Then",
        "Mr. T. ‖He is strong.",
        "Dr. A. B. Smith came. ‖Then",
        "He has a B.Sc. in physics. ‖Then",
        "She has a Ph.D. ‖She runs.",
        "He got an M.Sc. Physics degree. ‖Then",
        "An M.B.A. student met Lt. Col. Lee. ‖Then",
        "It was by P. G. Wodehouse and V. L. Lee. ‖Then",
        "J. Smith and P. Jones ran. ‖Options A and B. ‖Tom goes.",
        "We take plan B. ‖Tom goes.",
        "We choose X. ‖Then we go.",
        "The point is C. ‖The other is D. ‖So",
        "It rose to 25 C. ‖Tom left.",
        "In the U.S. Army he ran. ‖In the U.S. ‖He stayed.",
        "El Sr. Pérez tiene 3. ‖Das ist z. B. gut, d. h. ca. 5. ‖Nr. 5 ist da.",
    ],
    "units and numbered things": [
        "A 12 in. long ruler. ‖Then",
        "It is 5 ft. 6 in. tall. ‖Then",
        "He came in. ‖She left.",
        "A 12-in. pipe and a 5ft. rope. ‖He came 1st. ‖Then the 3rd. ‖5 men left.",
        "See Fig. A for it. ‖Then",
        "The room that he was in. ‖5 men came.",
        "A 3 m. rope and a 5 kg. bag. ‖Then",
        "It covers 160 sq. ft. of space. ‖Then",
        "It takes 10 min. of work. ‖He left at 5 p.m. ‖She stayed.",
        "At 7 a.m. Monday he ran. ‖At 5 p.m. EST he sat.",
        "See p. 12 and pp. 3 to 5. ‖Then",
        "See Fig. 3, Eq. (2), Sec. 4 and Ch. 5. ‖Then",
        "Bus No. 5 stops. ‖No. ‖It does not.",
        "He ate a fig. ‖Then he left.",
        "A 12 oz. can and a 5 lb. bag, 2 doz. eggs. ‖Next",
        "He ran 3 km. ‖Then 5 mi. more.",
        "60 sq.ft. is small. ‖It is 5 sq.ft. ‖There are 2.",
    ],
    "degrees": [
        "It is 37 °C. ‖Then it is 90°. ‖So",
        "The angle is 90^\\circ. ‖Then",
        "It rose by 5°. ‖5 men left.",
        "A 45° turn. ‖Then",
        "It was 10 F. ‖Then it was 5 K. ‖The end.",
        "It is \\(90^\\circ\\). ‖Then",
        "It is 3.5°C. ‖Then",
        "The sum is 180 deg. ‖Then",
        "It is -5° to 5°. ‖Then",
        "It is 30°.‖Then 40°.",
    ],
    "CJK": [
        "他有3个苹果。‖然后有5个！‖一共8个？‖对",
        "他说「好。」‖然后走了。",
        "（见下。）‖然后 5.5 元。‖好",
        "她有5个苹果.‖所以答案是3。",
        "好…… ‖他走了。",
        "これは「5。」です。‖はい。",
        "“对！”，他说。‖走了。",
        "1.首先相加。‖2.然后除以2。",
        "真的！？‖是。",
        "答案是 3.5。‖因为 1.5+2=3.5。\n‖完",
        "他（有5。吃2）走了。‖然后",
        "यह 5 है। ‖फिर",
    ],
    "period before a capital": [
        "There are 2 apples.‖Then 3 more.",
        "It costs $3.‖Then he pays.",
        "It is 50%.‖Then he left.",
        "That is 3.14.‖Then he left.",
        "Let the side be s.‖To add them, go.",
        "How many?‖Five are left!‖So he left.",
        'He said "stop."‖Then he left.',
        "The U.S.A is e.g.X and i.e.Y.",
        "See README.Md, System.Out and main.Py3.",
        "See www.Foo.Com/x.Then and http://a.b/C.Then here.",
        "It holds red, blue, etc.‖Then he left.",
        "The B.Sc.Physics degree and Ph.D.Student.",
        "Call np.Array(3) and Math.Sqrt(4) and Console.WriteLine.",
        "It is 3.5 and 1.000.000 and v2.0.Beta.",
        "1.First add. ‖2.Then halve.",
        "He left.‖I stayed.‖A dog came.",
    ],
    "quotes, brackets and markdown": [
        'He said "stop." ‖Then he left.',
        'He said "stop!" and left. ‖Then',
        "“I have 5.” ‖‘You have 3.’ ‖End",
        "(It was 5.) ‖Then 6.",
        "He (had 5. Ate 2) left. ‖Then",
        "(See above. Then go.) ‖End.",
        "See f(x. ‖Then we go. ‖Done",
        "It is **5.** ‖Then 6.",
        "It is 5. ‖**Then** we go. ‖*So* it is.",
        "It is 5. ‖_Then_ we go. ‖__So__ it is.",
        "[It is 5.] ‖Then 6.",
        "It is 5 (or 6). ‖Then",
        "It is 5. * 3 is odd.",
        "Is it **5?** ‖Yes.",
    ],
    "ellipses and exclamation marks": [
        "Hmm... let me see. ‖Well... ‖Now I see.",
        "Hmm… let me see. ‖Good.",
        "1, 2, 3, ... , 10. ‖Then",
        "1, 2, ... 10. ‖Then",
        "1 + ... + 10. ‖Then",
        "Wait...What? ‖So",
        "5! = 120. ‖Then",
        "There are 5! ways. ‖Then",
        "No way!!! ‖Then",
        "Really?! ‖Yes... ‖5 more.",
        "So… ‖And… ‖No!",
        "He paused . . . ‖Then he left.",
    ],
}


@pytest.mark.parametrize(("kind", "marked"), [(kind, marked) for kind, table in GOLDEN.items() for marked in table])
def test_golden_tables(kind: str, marked: str) -> None:
    assert step_texts(marked.replace("‖", "")) == marked.split("‖")


def test_each_table_has_ten_examples() -> None:
    assert {kind: len(table) for kind, table in GOLDEN.items() if len(table) < 10} == {}


PIECES = st.sampled_from(
    [
        *(
            "\\[",
            "\\]",
            "$$",
            "\\begin{align}",
            "\\end{align}",
            "\\begin{cases}",
            "\\end{cases}",
            "\\\\",
            "```",
            "```py",
        ),
        *(
            "~~~",
            "`",
            "\n",
            "\n\n",
            " ",
            "  ",
            "\t",
            ". ",
            ".",
            "! ",
            "?",
            "…",
            "...",
            "。",
            "！",
            "(",
            ")",
            "（",
            "）",
        ),
        *(
            "**",
            "_",
            "- ",
            "> ",
            "Mr",
            "No",
            "in",
            "J",
            "e.g",
            "p.m",
            "U.S",
            "Sept",
            "$",
            "\\(",
            "\\)",
            "A",
            "P",
            "i",
            "II",
            "a",
            "B",
            "1",
            "2.5",
        ),
        *("Then", "then ", "apples", "He", "Step", ":", "=", ",", '"', "」", "然后", "と", "x^2", "🙂", "é"),
    ]
)
TEXTS = st.lists(PIECES, max_size=30).map("".join)


@settings(deadline=None, max_examples=500)
@given(TEXTS)
def test_steps_tile_the_text_and_a_step_alone_is_one_step(text: str) -> None:
    steps = step_texts(text)
    assert "".join(steps) == text
    assert all(steps)
    assert [step_texts(step) for step in steps] == [[step] for step in steps]


INSIDE = st.lists(
    st.sampled_from(["x = 3. ", "Then ", "\n", "He said! ", "a. B ", "2.5 ", "\\text{So. } "]), max_size=8
)
SENTENCE = st.sampled_from(["We have", "So we get:", "Add them. ", "", "1. ", "Mr. Lee says\n", "It is so.\n\n"])
DISPLAYS = [
    ("\\[", "\\]"),
    ("$$\n", "\n$$"),
    ("\\begin{align}", "\\end{align}"),
    ("\n```py\n", "\n```\n"),
    ("\n~~~\n", "\n~~~\n"),
]


@settings(deadline=None, max_examples=300)
@given(SENTENCE, st.sampled_from(DISPLAYS), INSIDE.map("".join), SENTENCE)
def test_no_step_ends_inside_a_formula_or_a_code_block(
    before: str, marks: tuple[str, str], inside: str, after: str
) -> None:
    block = f"{marks[0]}x{inside}{marks[1]}"
    assert sum(block.strip("\n") in step for step in step_texts(before + block + after)) == 1
