"""Pictures as a model looks at them, and what is kept of them."""

from __future__ import annotations

import io

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image

from pomnit.engines.looking import LEAST_PIXELS, MOST_PICTURES, Seen, looked_at, shown, size_of
from pomnit.engines.protocols import Asked, Offered, Picture
from pomnit.errors import EngineError

STEP = 32


def picture(
    width: int = 400, height: int = 300, kind: str = "PNG", digest: str = "blake2b:1", **named: object
) -> Picture:
    image = Image.new("RGB", (width, height), "white")
    image.paste((200, 0, 0), (0, 0, width // 4, height))  # red at the left
    data = io.BytesIO()
    image.save(data, kind, **named)
    return Picture(data.getvalue(), digest)


@given(
    st.integers(1, 20_000),
    st.integers(1, 20_000),
    st.integers(LEAST_PIXELS, 4_000_000),
    st.sampled_from([512, 1_024, 1_600, 2_048]),
)
@example(1, 20_000, LEAST_PIXELS, 512)
@example(64, 64, LEAST_PIXELS, 512)
def test_no_size_is_more_than_allowed_and_proportions_stay(width, height, pixels, side):
    w, h = size_of(width, height, pixels=pixels, side=side, step=STEP)
    assert w % STEP == h % STEP == 0
    assert min(w, h) >= STEP
    assert max(w, h) <= side
    assert w * h <= pixels
    if max(width, height) <= 2 * min(width, height):
        assert abs(w / h - width / height) < 0.35 * width / height
    assert w * h <= max(LEAST_PIXELS, width * height) * 1.4 + side * STEP  # small ones are not blown up


def test_a_screen_that_fits_keeps_its_size():
    assert size_of(1024, 512, pixels=524_288, side=1_024, step=STEP) == (1024, 512)


def test_pictures_share_the_pixels():
    one = looked_at([picture(2000, 1000)], pixels=524_288, side=1_600, step=STEP)
    four = looked_at([picture(2000, 1000, digest=str(n)) for n in range(4)], pixels=524_288, side=1_600, step=STEP)
    assert 400_000 < one[0].image.width * one[0].image.height <= 524_288
    assert all(each.image.width * each.image.height <= 524_288 // 4 for each in four)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_a_picture_is_reduced_to_its_colours(kind):
    (found,) = looked_at([picture(1000, 800, kind)], pixels=200_000, side=512, step=STEP)
    assert found.image.mode == "RGB"
    assert found.image.getpixel((5, 5))[0] > 150 > found.image.getpixel((5, 5))[1]
    assert min(found.image.getpixel((found.image.width - 5, 5))) > 240


def test_a_photo_is_turned_as_its_camera_was_held():
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held upright: its left is our top
    (found,) = looked_at([picture(1200, 600, "JPEG", exif=exif)], pixels=400_000, side=1_024, step=STEP)
    assert found.image.height > found.image.width
    assert found.image.getpixel((found.image.width // 2, 5))[1] < 100
    assert min(found.image.getpixel((found.image.width // 2, found.image.height - 5))) > 240


def test_what_is_known_of_a_picture_is_known_by_its_digest_and_size():
    large, small = (looked_at([picture()], pixels=p, side=1_024, step=STEP)[0] for p in (300_000, 70_000))
    other = looked_at([picture(digest="blake2b:2")], pixels=300_000, side=1_024, step=STEP)[0]
    assert len({large.key, small.key, other.key}) == 3


@pytest.mark.parametrize("data", [b"", b"no picture", picture().data[:100]])
def test_what_cannot_be_decoded_is_an_engine_error(data):
    with pytest.raises(EngineError, match=r"cannot be decoded|is none of PNG, JPEG, WEBP"):
        looked_at([Picture(data, "x")], pixels=70_000, side=512, step=STEP)


def test_a_picture_that_would_be_huge_is_refused_before_it_is_decoded():
    data = io.BytesIO()
    Image.new("1", (16_000, 8_000)).save(data, "PNG")
    with pytest.raises(EngineError, match="16000 x 8000 pixels is too large"):
        looked_at([Picture(data.getvalue(), "x")], pixels=70_000, side=512, step=STEP)


def offered(*digests: str | None) -> tuple[Offered, ...]:
    return tuple(
        Offered(number, "", "", "", "text", Picture(b"", digest) if digest else None)
        for number, digest in enumerate(digests, 1)
    )


def looks(asked: Asked) -> list[str | None]:
    return [piece.picture.digest if piece.picture else None for piece in shown(asked).offered]


def test_each_picture_is_shown_once_and_those_of_the_best_evidence():
    many = offered("a", None, "a", "b", "c", "d", "e")
    assert looks(Asked("?", "en", many)) == ["a", None, None, "b", "c", "d", None]
    assert looks(Asked("?", "en", many, Picture(b"", "c"))) == ["a", None, None, "b", None, "d", None]
    assert looks(Asked("?", "en", ())) == []


@given(st.lists(st.sampled_from(["a", "b", "c", "d", "e", "f", None]), max_size=12), st.booleans())
def test_no_more_are_shown_than_are_looked_at_and_no_text_is_lost(digests, own):
    asked = Asked("?", "en", offered(*digests), Picture(b"", "own") if own else None)
    found = [each for each in looks(asked) if each]
    assert len(found) == len(set(found)) <= MOST_PICTURES - own
    assert [piece.text for piece in shown(asked).offered] == [piece.text for piece in asked.offered]


def test_what_was_seen_is_kept_until_there_is_too_much():
    seen = Seen(100)
    for name in "abc":
        seen.put(name, name.upper(), 40)
    assert seen.get("a") is None
    assert (seen.get("b"), seen.get("c")) == ("B", "C")
    seen.get("b")
    seen.put("d", "D", 40)
    assert (seen.get("b"), seen.get("c"), seen.get("d")) == ("B", None, "D")
    seen.put("large", "L", 1000)
    assert (seen.get("large"), seen.get("b"), seen.get("d")) == ("L", None, None)
    seen.clear()
    assert seen.get("large") is None
