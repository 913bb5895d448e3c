"""Messages between processes: what is written is read, and whatever else comes is refused as one error."""

import contextlib
import io
import json
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of

from pomnit.governor import frames
from pomnit.governor.frames import FrameError

plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda values: st.lists(values) | st.dictionaries(st.text(), values),
    max_leaves=20,
)
messages = st.dictionaries(st.text().filter(lambda key: key != "arrays"), plain)
arrays = st.lists(
    st.sampled_from(["uint8", "int8", "int64", "float32"]).flatmap(
        lambda dtype: arrays_of.arrays(dtype, arrays_of.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5))
    ),
    max_size=4,
)


def written(message, given=()) -> bytes:
    stream = io.BytesIO()
    frames.write(stream, message, given)
    return stream.getvalue()


def read_all(data: bytes) -> list:
    stream, found = io.BytesIO(data), []
    while (came := frames.read(stream)) is not None:
        found.append(came)
    return found


@given(st.lists(st.tuples(messages, arrays), max_size=3))
def test_what_is_written_is_read(sent):
    found = read_all(b"".join(written(message, given) for message, given in sent))
    assert [message for message, _ in found] == [message for message, _ in sent]
    for (_, theirs), (_, came) in zip(sent, found, strict=True):
        assert [(a.dtype, a.shape, a.tobytes()) for a in came] == [(a.dtype, a.shape, a.tobytes()) for a in theirs]


def test_parts_of_arrays_and_turned_ones_are_read_as_they_look():
    whole = np.arange(60, dtype=np.int64).reshape(5, 12)
    for array in (whole.T, whole[:, ::3], whole[::-1], np.asfortranarray(whole), np.int64(7)[()]):
        ((_, (came,)),) = read_all(written({}, [np.asarray(array)]))
        assert np.array_equal(came, array)


def test_halves_of_surrogate_pairs_pass():
    assert read_all(written({"text": "broken \ud83d name"})) == [({"text": "broken \ud83d name"}, [])]


def test_what_was_read_can_be_written_to():
    ((_, (array,)),) = read_all(written({}, [np.zeros(3, np.float32)]))
    array[0] = 1


@given(messages, arrays, st.data())
def test_a_message_cut_anywhere_is_an_error_and_nothing_at_all_is_the_end(message, given, data):
    whole = written(message, given)
    cut = data.draw(st.integers(1, len(whole) - 1))
    with pytest.raises(FrameError):
        read_all(whole[:cut])
    assert read_all(b"") == []


@given(messages, arrays, st.data())
def test_a_garbled_message_is_an_error_or_another_message(message, given, data):
    garbled = bytearray(written(message, given))
    for at in data.draw(st.lists(st.integers(0, len(garbled) - 1), min_size=1, max_size=5)):
        garbled[at] = data.draw(st.integers(0, 255))
    with contextlib.suppress(FrameError):
        read_all(bytes(garbled))


@given(st.binary(max_size=200))
def test_noise_is_an_error(noise):
    try:
        assert read_all(noise) == []
        assert noise == b""
    except FrameError:
        pass


def framed(header: bytes) -> bytes:
    return written({})[4:8].join((struct.pack("<I", len(header)), header))


@pytest.mark.parametrize(
    "header",
    [
        b"",
        b"\xff\xfe",
        b"[]",
        b"7",
        b"null",
        b"{}",
        b'{"arrays": 7}',
        b'{"arrays": ["float32"]}',
        b'{"arrays": [{"dtype": "float32"}]}',
        b'{"arrays": [{"dtype": "object", "shape": [1]}]}',
        b'{"arrays": [{"dtype": "float64", "shape": [1]}]}',
        b'{"arrays": [{"dtype": "float32", "shape": [-1]}]}',
        b'{"arrays": [{"dtype": "float32", "shape": ["many"]}]}',
        b'{"arrays": [{"dtype": "float32", "shape": [1e999]}]}',
        b'{"arrays": [{"dtype": "float32", "shape": [NaN]}]}',
        b'{"arrays": [{"dtype": "uint8", "shape": [0, 1000000000000000000000000000000]}]}',
        b'{"arrays": [{"dtype": "uint8", "shape": [1099511627776]}]}',
        b'{"arrays": [{"dtype": "uint8", "shape": %s}]}' % json.dumps([1] * 100).encode(),
        b'{"arrays": ' + b"[" * 100_000,
    ],
)
def test_a_header_that_promises_what_cannot_be_is_an_error(header):
    with pytest.raises(FrameError):
        read_all(framed(header))


def test_too_long_a_header_is_refused_before_it_is_read(monkeypatch):
    data = written({"text": "x" * 100})
    monkeypatch.setattr(frames, "_LARGEST_HEADER", 100)
    with pytest.raises(FrameError):
        read_all(data)
    with pytest.raises(FrameError, match="larger than 100"):
        written({"text": "x" * 100})


def test_too_many_bytes_of_arrays_are_refused_on_both_sides(monkeypatch):
    two = [np.zeros(60, np.uint8), np.zeros(60, np.uint8)]
    data = written({}, two)
    monkeypatch.setattr(frames, "_LARGEST_ARRAYS", 100)
    for refused in (lambda: read_all(data), lambda: written({}, two)):
        with pytest.raises(FrameError, match="100 bytes"):
            refused()


@pytest.mark.parametrize("array", [np.zeros(2), np.array([object()]), np.zeros(2, ">f4"), np.array(["text"])])
def test_an_array_that_the_other_side_would_refuse_is_not_sent(array):
    stream = io.BytesIO()
    with pytest.raises(FrameError, match=str(array.dtype)):
        frames.write(stream, {}, [array])
    assert stream.getvalue() == b""


def test_what_is_no_json_is_not_sent():
    with pytest.raises(FrameError, match="float32"):
        written({"score": np.float32(1)})
