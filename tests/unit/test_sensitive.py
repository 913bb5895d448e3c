"""Cards, passwords and the like: what is found and where, what is not, and what is left once it is masked."""

from __future__ import annotations

import random
import re
import string
from re import _constants as codes
from re import _parser as parser

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from PIL import Image

from pomnit.engines.protocols import Line, Word
from pomnit.errors import UsageError
from pomnit.privacy import sensitive, sensitive_ibans, sensitive_numbers, sensitive_secrets, sensitive_view
from pomnit.privacy.policy import kinds_of, policy_for
from pomnit.privacy.sensitive import Found, Policy, find, masked, masked_lines, masked_placed, paint
from pomnit.privacy.sensitive_view import View, fold
from pomnit.records import SENSITIVE_KINDS, Place
from pomnit.settings import Settings
from pomnit.text.split import PlacedText, Span

MODULES = (sensitive, sensitive_view, sensitive_numbers, sensitive_ibans, sensitive_secrets)

# Check digits of the tests' own


def with_luhn(body: str) -> str:
    doubled = (2 * int(d) if i % 2 == 0 else int(d) for i, d in enumerate(reversed(body)))
    return body + str(-sum(d // 10 + d % 10 for d in doubled) % 10)


def with_inn(body: str) -> str:
    for weights in ((2, 4, 10, 3, 5, 9, 4, 6, 8), (7, 2, 4, 10, 3, 5, 9, 4, 6, 8), (3, 7, 2, 4, 10, 3, 5, 9, 4, 6, 8)):
        if len(weights) == len(body):
            body += str(sum(w * int(d) for w, d in zip(weights, body, strict=True)) % 11 % 10)
    return body


def with_snils(body: str) -> str:
    return body + f"{sum((9 - i) * int(d) for i, d in enumerate(body)) % 101 % 100:02}"


def with_iban(country: str, body: str) -> str:
    as_digits = "".join(str(int(c, 36)) for c in f"{body}{country}00")
    return f"{country}{98 - int(as_digits) % 97:02}{body}"


def drawn(digits: int, first: str = "") -> st.SearchStrategy[str]:
    rest = digits - len(first)
    return st.text(string.digits, min_size=rest, max_size=rest).map(lambda body: first + body)


GAPS = st.sampled_from(["", " ", "-", "\u00a0", "\u2009", "\u2011", "–"])


def parted(number: str, gap: str, *cuts: int) -> str:
    ends = [*cuts, len(number)]
    return gap.join(number[a:b] for a, b in zip([0, *ends], ends, strict=False))


CARDS = st.builds(
    lambda body, gap: ("card", parted(with_luhn(body), gap, 4, 8, 12)),
    st.sampled_from(["4", "51", "55", "2200", "2221", "62", "6011"]).flatmap(lambda first: drawn(15, first)),
    GAPS,
)
SNILS = st.builds(
    lambda body, gap: ("snils", parted(with_snils(body), gap, 3, 6, 9)),
    drawn(9).filter(lambda b: b[0] in "123456"),
    GAPS,
)
PERSONS = drawn(10, "7").map(lambda body: ("inn", with_inn(body)))
IBANS = st.builds(
    lambda body, gap: ("iban", parted(with_iban("DE", body), gap, 4, 8, 12, 16, 20)),
    drawn(18),
    st.sampled_from(["", " "]),
)
NUMBERS = st.one_of(CARDS, SNILS, PERSONS, IBANS)
# Around a number: lines without digits, which would be part of it, and without names of other numbers.
AROUND = st.text(st.characters(exclude_categories=("Cs", "Nd", "Nl", "No")), max_size=60)


# Finding


@given(NUMBERS, AROUND, AROUND)
def test_a_valid_number_in_any_text_is_found_at_its_exact_offsets(planted, before: str, after: str):
    kind, number = planted
    text = f"{before}\nx {number} y\n{after}"
    start = len(before) + 3
    assert [f for f in find(text) if f.start < start + len(number) and f.end > start] == [
        Found(kind, start, start + len(number), sure=True)
    ]


@given(NUMBERS, st.data())
def test_a_number_whose_digit_was_changed_is_no_longer_one(planted, data):
    kind, number = planted
    at = data.draw(st.sampled_from([i for i, c in enumerate(number) if c.isdigit() and i > 3]))
    other = data.draw(st.sampled_from([d for d in string.digits if d != number[at]]))
    changed = number[:at] + other + number[at + 1 :]
    # Two check digits of a СНИЛС stand for one remainder: of 101 and 100 both become 00.
    assume(not (kind == "snils" and with_snils(re.sub(r"\D", "", changed)[:9]) == re.sub(r"\D", "", changed)))
    # The first check digit of an ИНН gives 0 for two remainders, so some changes of one digit do not show.
    assume(not (kind == "inn" and with_inn(changed[:10]) == changed))
    assert kind not in [f.kind for f in find(f"x {changed} y")]


@given(st.sampled_from(["x {} y", "код {}", "{}", "смотри {} и ответь"]), st.integers(0, 10**6))
def test_digits_drawn_by_lot_are_rarely_taken_for_a_number(frame: str, seed: int):
    rng = random.Random(seed)
    texts = [
        frame.format("".join(rng.choices(string.digits, k=rng.choice((8, 9, 11, 13, 14, 15, 17, 18)))))
        for _ in range(100)
    ]
    assert sum(bool(find(text)) for text in texts) <= 5


NOISE = {"0": "OО", "1": "lI|", "2": "Z", "3": "З", "5": "S", "6": "б", "8": "BВ", "9": "g"}


@given(CARDS, st.data())
def test_a_card_is_found_in_what_a_reader_of_pictures_makes_of_it(planted, data):
    _, number = planted
    for _ in range(2):
        at = data.draw(st.integers(0, len(number) - 1))
        if number[at] in NOISE:
            number = number[:at] + data.draw(st.sampled_from(NOISE[number[at]])) + number[at + 1 :]
    groups = re.split(r"[^\w|]", number)
    assume(all(any(c in string.digits for c in group) for group in groups))  # a group of letters alone is a word
    assert [(f.kind, f.start, f.end) for f in find(f"x {number} y")] == [("card", 2, 2 + len(number))]


@pytest.mark.parametrize(
    ("text", "kind", "secret"),
    [
        ("ИНН 7707083893", "inn", "7707083893"),
        ("ИНН/КПП 7707083893/773601001", "inn", "7707083893"),
        ("ИHH: 77O7083893", "inn", "77O7083893"),  # a Latin H, the letter O
        ("Паспорт: 4508 123456, выдан", "passport", "4508 123456"),
        ("серия 45 08 № 123456", "passport", "45 08 № 123456"),
        ("45 08 123456", "passport", "45 08 123456"),
        ("my SSN is 123-45-6789.", "ssn", "123-45-6789"),
        ("SSN 123456789", "ssn", "123456789"),
        ("IBAN GB82 WEST 1234 5698 7654 32, thanks", "iban", "GB82 WEST 1234 5698 7654 32"),
        ("amex 3782 822463 10005", "card", "3782 822463 10005"),
        ("4242 4242\n4242 4242", "card", "4242 4242\n4242 4242"),
        ("| 4242 4242 4242 4242 |", "card", "4242 4242 4242 4242"),
        ("|4242 4242 4242 4242|", "card", "4242 4242 4242 4242"),
        ("key AKIAIOSFODNN7EXAMPLE", "token", "AKIAIOSFODNN7EXAMPLE"),
        ("ghp_abcdefghijklmnopqrstuvwxyz0123456789", "token", "ghp_abcdefghijklmnopqrstuvwxyz0123456789"),
        ("xoxb-123456789012-abcdefABCDEF", "token", "xoxb-123456789012-abcdefABCDEF"),
        ("sk_live_abcdefABCDEF0123456789", "token", "sk_live_abcdefABCDEF0123456789"),
        ("1234567890:AAE-abcdefghijklmnopqrstuvwxyz01234", "token", "1234567890:AAE-abcdefghijklmnopqrstuvwxyz01234"),
        ('api_key = "aB3dE6gH9jK2mN5pQ8"', "token", "aB3dE6gH9jK2mN5pQ8"),
        ("ключ: aB3dE6gH9jK2mN5pQ8", "token", "aB3dE6gH9jK2mN5pQ8"),
        ("Пароль: hunter2", "password", "hunter2"),
        ("пароль от почты: vesna", "password", "vesna"),
        ("Пароль\nvesna2026", "password", "vesna2026"),
        ("password is Qwerty!1 ok", "password", "Qwerty!1"),
        ('password = "two words"', "password", "two words"),
        ("логин bob пароль vesna", "password", "vesna"),
        ("ПИН-код 4821", "password", "4821"),
        ("PIN: 4821", "password", "4821"),
        ("код доступа: 77-fox", "password", "77-fox"),
        ("postgres://bob:s3cret@host/db", "password", "s3cret"),
        ("seed phrase: " + "abandon " * 11 + "about.", "password", "abandon " * 11 + "about"),
    ],
)
def test_each_kind_is_found_where_it_stands(text: str, kind: str, secret: str):
    start = text.index(secret)
    assert [(f.kind, f.start, f.end) for f in find(text)] == [(kind, start, start + len(secret))]


PEM = "-----BEGIN RSA PRIVATE KEY-----\n{}\n-----END RSA PRIVATE KEY-----"


def test_a_private_key_is_found_whole_or_as_far_as_it_goes():
    body = "\n".join(["MIIEpAIBAAKCAQEA7bq3kzj2v9Xz01abcdEFGHijklMNOPqrstUVWXyz0123456"] * 4)
    whole = PEM.format(body)
    assert find(f"see\n{whole}\nend") == [Found("key", 4, 4 + len(whole), sure=True)]
    cut = whole.rpartition("\n")[0]
    assert masked(f"see\n{cut}\nand more words") == "see\n[key]\nand more words"


@pytest.mark.parametrize(
    "text",
    [
        "заказ 7707083893",
        "order № 4242424242424242",
        "+7 916 123-45-67",
        "8 (495) 123-45-67",
        "1763658000",
        "2026-11-20 17:11:07",
        "20.11.2026",
        "ISBN 978-5-17-118366-5",
        "da39a3ee5e6b4b0d3255bfef95601890afd80709",
        "550e8400-e29b-41d4-a716-446655440000",
        "55.755826, 37.617300",
        "1 234 567,89 ₽",
        "40817810099910004312",
        "192.168.100.200",
        "Забыли пароль?",
        "Введите пароль",
        "пароль: ********",
        "password: required",
        "the password must be changed",
        "key = value",
        "token ring network",
        "pin the message",
        "паспорт готов",
        "моя карта лежит дома",
        "-----BEGIN CERTIFICATE-----",
        "-----BEGIN PUBLIC KEY-----",
        "",
    ],
)
def test_harmless_text_is_left_alone(text: str):
    assert find(text) == []


@given(
    st.text(max_size=300) | st.text("0123456789OlS -.|\n", max_size=300) | st.text("пароль: []pin=key-", max_size=200)
)
def test_whatever_the_text_findings_are_in_order_apart_and_inside(text: str):
    founds = find(text)
    ends = [0]
    for found in founds:
        assert ends[-1] <= found.start < found.end <= len(text)
        ends.append(found.end)


def test_a_long_text_is_looked_at_in_pieces_with_nothing_lost(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sensitive, "PIECE", 100)
    monkeypatch.setattr(sensitive, "OVERLAP", 60)
    lines = [f"line {'x' * (i % 37)} 4242 4242 4242 4242 and" for i in range(200)]
    text = "\n".join(lines)
    starts = [m.start() for m in re.finditer("4242 4242 4242 4242", text)]
    assert [f.start for f in find(text)] == starts


# Time


def patterns() -> list[re.Pattern[str]]:
    return [value for module in MODULES for value in vars(module).values() if isinstance(value, re.Pattern)]


def unbounded(tree: object) -> int:
    """Counts repeats without a bound that may give back what they took, in a parsed pattern."""
    found = 0
    for code, argument in tree:  # type: ignore[attr-defined]
        if code in (codes.MAX_REPEAT, codes.MIN_REPEAT):
            found += argument[1] == codes.MAXREPEAT and not _single(argument[2])
            found += unbounded(argument[2])
        elif code == codes.POSSESSIVE_REPEAT:
            found += unbounded(argument[2])
        elif code == codes.SUBPATTERN:
            found += unbounded(argument[3])
        elif code == codes.BRANCH:
            found += sum(unbounded(branch) for branch in argument[1])
        elif code in (codes.ASSERT, codes.ASSERT_NOT):
            found += unbounded(argument[1])
    return found


def _single(tree: object) -> bool:
    return len(tree) == 1 and tree[0][0] in (codes.IN, codes.LITERAL, codes.NOT_LITERAL, codes.ANY)  # type: ignore[arg-type, index]


def test_no_pattern_repeats_without_a_bound_what_it_may_give_back():
    assert len(patterns()) > 20
    assert {
        p.pattern: unbounded(parser.parse(p.pattern, p.flags))
        for p in patterns()
        if unbounded(parser.parse(p.pattern, p.flags))
    } == {}


@pytest.mark.parametrize(
    "piece",
    ["4242 ", "4 ", "4242-", "0O0O ", "l|", "|", "DE89 3704 ", "пароль ", "password: ", "key=", "eyJ", "-eyJ", "sk-",
     "a:b@", "-----BEGIN PRIVATE KEY-----\n", "://a:", "1234 5678\n", "ИНН ", "\n", " ", "пин ", "seed "],
)  # fmt: skip
def test_the_work_grows_with_the_length_and_not_faster(piece: str, monkeypatch: pytest.MonkeyPatch):
    """What is counted: characters that the finders look at in Python, and numbers whose check digit is computed."""
    counts = {"work": 0}

    def counted(module, name, weigh):
        function = getattr(module, name)

        def count(*arguments, **named):
            counts["work"] += weigh(arguments)
            return function(*arguments, **named)

        monkeypatch.setattr(module, name, count)

    counted(sensitive_numbers, "is_card", lambda a: len(a[0]))
    counted(sensitive_numbers, "is_inn", lambda a: len(a[0]))
    counted(sensitive_numbers, "is_snils", lambda a: len(a[0]))
    counted(sensitive_numbers, "_windows", lambda a: 20)
    counted(sensitive_ibans, "_taken", lambda a: a[2])
    counted(sensitive_secrets, "_password", lambda a: 20)

    def work(times: int) -> int:
        counts["work"] = 0
        find(piece * times)
        return counts["work"]

    small, large = work(200), work(800)
    assert large <= 5 * small + 2000
    assert large <= 400 * 800 * len(piece)


# Masking text


@given(st.lists(st.one_of(NUMBERS.map(lambda p: p[1]), AROUND), max_size=6).map("\n".join))
def test_masked_text_masked_again_stays_the_same(text: str):
    once = masked(text)
    assert masked(once) == once


def test_a_mask_tells_the_kind_and_of_a_card_its_last_digits():
    assert masked("карта 4242 4242 4242 4242, ИНН 7707083893") == "карта [card ····4242], ИНН [inn]"
    assert masked("card 4242 4242 4242 42A2") == "card 4242 4242 4242 42A2"  # the check digit does not hold
    assert masked("SSN 123-45-6789, пароль: hunter2") == "SSN [ssn], пароль: [password]"


def test_only_the_kinds_of_the_policy_are_masked():
    text = "карта 4242 4242 4242 4242, пароль: hunter2"
    assert masked(text, Policy("mask", frozenset({"password"}))) == "карта 4242 4242 4242 4242, пароль: [password]"
    assert masked(text, Policy("keep")) == text


@given(
    st.lists(
        st.one_of(NUMBERS.map(lambda p: p[1]), st.text("abcабв .,", min_size=1, max_size=9)), min_size=1, max_size=9
    )
)
def test_places_stay_with_their_words_when_a_text_is_masked(pieces: list[str]):
    words = [word for piece in pieces for word in piece.split()] or ["x"]
    spans, at = [], 0
    for i, word in enumerate(words):
        spans.append(Span(at, at + len(word), Place(line=i + 1)))
        at += len(word) + 1
    text = " ".join(words)
    fit = masked_placed(PlacedText(text, spans))
    assert fit.placed.text == masked(text)
    hidden = {span.place.line for span in fit.spans}
    assert hidden == {s.place.line for s in spans if any(f.start < s.end and f.end > s.start for f in fit.founds)}
    last = 0
    for span in fit.placed.spans:
        assert last <= span.start < span.end <= len(fit.placed.text)
        last = span.end
        if span.place.line not in hidden:
            assert fit.placed.text[span.start : span.end] == words[span.place.line - 1]
    assert {s.place.line for s in fit.placed.spans} >= {i + 1 for i in range(len(words))} - hidden


# Masking lines and pixels


def line(text: str, y: float, block: int = 0) -> Line:
    words = text.split()
    return Line(tuple(Word(w, (i / 10, y, i / 10 + 0.08, y + 0.05), 0.9) for i, w in enumerate(words)), block)


def texts(lines) -> list[str]:
    return [" ".join(word.text for word in one.words) for one in lines]


def test_a_number_over_several_words_of_a_line_becomes_one_word_with_their_box():
    lines, boxes = masked_lines([line("pay 4242 4242 4242 4242 now", 0.1), line("or later", 0.2)])
    assert texts(lines) == ["pay [card ····4242] now", "or later"]
    assert boxes == [(i / 10, 0.1, i / 10 + 0.08, 0.1 + 0.05) for i in (1, 2, 3, 4)]
    assert lines[0].words[1].box == (0.1, 0.1, 0.4 + 0.08, 0.1 + 0.05)


def test_a_label_on_the_line_above_tells_a_password():
    lines, boxes = masked_lines([line("Пароль", 0.1), line("vesna2026", 0.2)])
    assert texts(lines) == ["Пароль", "[password]"]
    assert len(boxes) == 1


def test_a_number_over_two_lines_leaves_none_of_it_behind():
    lines, boxes = masked_lines([line("4242 4242", 0.1), line("4242 4242", 0.2), line("end", 0.3)])
    assert texts(lines) == ["[card ····4242]", "end"]
    assert len(boxes) == 4


def test_only_the_part_of_a_word_that_is_sensitive_goes():
    lines, boxes = masked_lines([line("(ИНН:7707083893), да", 0.1)])
    assert texts(lines) == ["(ИНН:[inn]), да"]
    assert len(boxes) == 1


def test_lines_without_anything_sensitive_come_back_as_they_are():
    lines = [line("nothing here", 0.1)]
    assert masked_lines(lines) == (lines, [])
    assert masked_lines([line("4242424242424242", 0.1)], Policy("keep"))[1] == []
    assert masked_lines([]) == ([], [])


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "P", "1", "CMYK", "LA"])
def test_painting_leaves_no_pixel_of_the_box_and_touches_none_far_from_it(mode: str):
    image = Image.effect_noise((200, 100), 90).convert(mode)
    painted = paint(image, [(0.25, 0.2, 0.5, 0.4)])
    inside = painted.crop((50, 20, 100, 40)).convert("RGB")
    assert inside.getcolors() == [(50 * 20, (128, 128, 128))]
    far = (0, 60, 200, 100)
    assert painted.crop(far).convert("RGB").tobytes() == image.crop(far).convert("RGB").tobytes()
    assert image.crop((50, 20, 100, 40)).convert("RGB").getcolors(1000) != inside.getcolors()  # the one given stays


def test_boxes_at_the_edge_and_beyond_are_painted_as_far_as_there_is_a_picture():
    painted = paint(Image.new("RGB", (40, 20), "white"), [(-0.5, -0.5, 2.0, 2.0)])
    assert painted.getcolors() == [(800, (128, 128, 128))]


# The looks of a text


@given(st.text(max_size=200))
def test_every_look_of_a_text_is_as_long_as_the_text(text: str):
    view = View(text)
    assert len(view.plain) == len(view.latin) == len(view.skeleton) == len(fold(text)) == len(text)


def test_key_words_are_the_same_in_both_alphabets():
    assert fold("ИНН") == fold("ИHH") == fold("инн")
    assert fold("Password") == fold("Раsswоrd")


# Policy


@pytest.mark.parametrize(
    ("told", "screen", "own", "action"),
    [
        ("auto", True, None, "mask"),
        ("auto", False, None, "keep"),
        ("auto", False, "mask", "mask"),
        ("mask", False, None, "mask"),
        ("keep", True, None, "keep"),
        ("drop", False, None, "drop"),
        ("drop", False, "keep", "keep"),
    ],
)
def test_the_screen_is_masked_and_files_are_kept_unless_somebody_says_otherwise(told, screen, own, action):
    assert policy_for(Settings.load(sensitive=told), screen=screen, own=own).action == action


def test_kinds_are_all_when_none_is_told_and_unknown_ones_are_refused():
    assert kinds_of([]) == frozenset(SENSITIVE_KINDS)
    assert kinds_of(["card"]) == {"card"}
    with pytest.raises(UsageError, match="the kinds are card"):
        kinds_of(["credit"])
    with pytest.raises(UsageError, match="is not one of card"):
        Settings.load(sensitive_kinds=["credit"])
