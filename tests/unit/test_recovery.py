"""Recovery keys: what is written is read again, however it is typed, and no slip of the pen goes unnoticed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pomnit.errors import UsageError
from pomnit.privacy import recovery

IDS, KEYS = st.binary(min_size=8, max_size=8).map(bytes.hex), st.binary(min_size=32, max_size=32)


@given(IDS, KEYS)
def test_what_is_written_is_read_again(memory, root):
    text = recovery.written(memory, root)
    assert recovery.read(text) == (memory, root)
    assert len(text.splitlines()) == 6
    assert max(map(len, text.splitlines())) < 24


@given(IDS, KEYS, st.randoms())
def test_it_may_be_typed_as_people_type(memory, root, random):
    lines = recovery.written(memory, root).splitlines()
    typed = [line.replace("0", random.choice("0oO")).replace("1", random.choice("1iIlL")) for line in lines]
    typed = [line[:1].replace(line[0], str(i)) + line[1:] for i, line in enumerate(typed, 1)]
    typed = [random.choice((str.lower, str.upper))(line).replace("-", random.choice(("-", " ", ""))) for line in typed]
    random.shuffle(typed)
    text = "\r\n".join(["My key, of 2026", "", *(f"  {line}  ".rstrip() for line in typed), "1 heron", "keep it"])
    assert recovery.read(text.replace("1 heron\r\n", "")) == (memory, root)


@given(KEYS, st.data())
def test_one_wrong_sign_is_found_in_its_line(root, data):
    lines = recovery.written("ab" * 8, root).splitlines()
    number = data.draw(st.integers(0, 5))
    signs = [i for i, sign in enumerate(lines[number]) if i > 2 and sign != "-"]
    at = data.draw(st.sampled_from(signs))
    other = data.draw(st.sampled_from([s for s in "023456789ABCDEFGHJKMNPQRSTVWXYZ" if s != lines[number][at]]))
    lines[number] = lines[number][:at] + other + lines[number][at + 1 :]
    with pytest.raises(UsageError, match=f"line {number + 1} |not all of one key"):
        recovery.read("\n".join(lines))


@given(KEYS, KEYS)
def test_lines_of_two_keys_do_not_make_one(one, two):
    first, second = (recovery.written("ab" * 8, root).splitlines() for root in (one, two))
    if first[2:] != second[2:]:
        with pytest.raises(UsageError):
            recovery.read("\n".join(first[:2] + second[2:]))


@pytest.mark.parametrize("text", ["", "1  0000-0000-0000-00", "\0" * 1000, "heron", "7  AAAA\n" * 9])
def test_what_is_no_recovery_key_is_refused(text):
    with pytest.raises(UsageError, match="recovery key"):
        recovery.read(text)
