"""The sound of every kind of recording and film, and what is said of those that cannot be read."""

import io

import numpy as np
import pytest

from pomnit.errors import ItemError
from pomnit.readers import HEAD, choose
from pomnit.readers.audio import Recording
from pomnit.readers.sound import RATE, Sound
from pomnit.settings import Settings
from support.recordings import said_at, speech, write, write_late, write_made, write_wav

KINDS = {
    "a.wav": ("pcm_s16le",),
    "a.mp3": ("libmp3lame",),
    "a.m4a": ("aac",),
    "a.aac": ("aac",),
    "a.flac": ("flac",),
    "a.ogg": ("flac", 44_100, "stereo"),
    "a.opus": ("libopus", 48_000),
    "a.mp4": ("aac", 44_100, "stereo", True),
    "a.mov": ("pcm_s16le", RATE, "mono", True),
    "a.mkv": ("flac", 48_000, "5.1", True),
    "a.webm": ("libopus", 48_000),
}


def heard(path, most_s=3600):
    """Gives all samples of a file, and the length that it told."""
    with path.open("rb") as file:
        reader = choose(path.name, file.read(HEAD))
        file.seek(0)
        with Sound(file, reader.media_type, most_s) as sound:
            return np.concatenate(list(sound.blocks())), sound.length_s


def reason(path, most_s=3600):
    with pytest.raises(ItemError) as found:
        heard(path, most_s)
    return str(found.value)


@pytest.mark.parametrize("name", KINDS)
def test_the_sound_of_every_kind_comes_as_16_khz_mono(tmp_path, name):
    written = said_at([1.0], 4.0)
    samples, length = heard(write(tmp_path / name, written, *KINDS[name]))
    assert samples.dtype == np.float32
    assert abs(len(samples) / RATE - 4.0) < 0.15
    assert name == "a.aac" or abs(length - 4.0) < 0.15  # ADTS does not tell it
    loud = np.flatnonzero(np.abs(samples) > 0.1) / RATE
    assert 0.9 < loud[0] < loud[-1] < 2.3


def test_192_khz_and_eight_channels_are_heard(tmp_path):
    high = np.repeat(speech(), 12)
    assert abs(len(heard(write_wav(tmp_path / "high.wav", high, 192_000))[0]) - len(speech())) < 100
    eight = np.stack([np.repeat(speech(), 3)] * 8, axis=1)
    assert np.abs(heard(write_wav(tmp_path / "eight.wav", eight, 48_000))[0]).max() > 0.1


def test_what_begins_later_and_ends_earlier_than_its_film_is_heard_at_its_time(tmp_path):
    samples, _ = heard(write_late(tmp_path / "late.mkv", speech(), 5.0, 12.0))
    loud = np.flatnonzero(np.abs(samples) > 0.1) / RATE
    assert 4.9 < loud[0] < 5.5


def test_a_film_without_sound_says_so(tmp_path):
    assert reason(write(tmp_path / "a.mp4", said_at([], 1.0), "", film=True)) == "there is no sound in it"


def test_a_protected_recording_says_so(tmp_path):
    data = write(tmp_path / "a.m4a", said_at([], 1.0), "aac").read_bytes()
    (tmp_path / "b.m4a").write_bytes(data.replace(b"mp4a", b"drms"))
    assert "protected against copying (DRM)" in reason(tmp_path / "b.m4a")


def test_one_sample_a_second_is_no_speech(tmp_path):
    assert "1 samples a second" in reason(write_wav(tmp_path / "one.wav", np.zeros(10), 1))


def test_a_recording_of_no_length_says_so(tmp_path):
    assert "it is empty" in reason(write_wav(tmp_path / "none.wav", np.zeros(0)))


@pytest.mark.parametrize("name", ["a.flac", "a.webm"])
def test_a_truncated_recording_is_heard_as_far_as_it_goes_and_says_so(tmp_path, name):
    data = write(tmp_path / name, said_at([1.0, 7.0], 12.0), *KINDS[name]).read_bytes()
    (tmp_path / f"half-{name}").write_bytes(data[: len(data) // 2])
    blocks = []
    reader = choose(name, data[:HEAD])
    with (
        (tmp_path / f"half-{name}").open("rb") as file,
        Sound(file, reader.media_type, 3600) as sound,
        pytest.raises(ItemError, match="cut short"),
    ):
        blocks.extend(sound.blocks())
    assert 1 < sum(map(len, blocks)) / RATE < 10


@pytest.mark.parametrize("name", ["a.m4a", "a.mp4"])
def test_a_recording_whose_end_told_how_to_read_it_says_that_it_is_cut_short(tmp_path, name):
    data = write(tmp_path / name, said_at([1.0], 6.0), *KINDS[name]).read_bytes()
    (tmp_path / f"half-{name}").write_bytes(data[: len(data) // 2])
    assert "damaged or cut short" in reason(tmp_path / f"half-{name}")


@pytest.mark.parametrize("name", sorted(set(KINDS) - {"a.wav", "a.mov"}))
def test_damaged_bytes_raise_nothing_but_a_reason(tmp_path, name):
    data = write(tmp_path / name, said_at([1.0], 4.0), *KINDS[name]).read_bytes()
    rng = np.random.default_rng(len(name))
    for _ in range(5):
        broken = bytearray(data)
        for at in rng.integers(64, len(data), 60):
            broken[at] ^= int(rng.integers(1, 256))
        reader = choose(name, data[:HEAD])
        try:
            with Sound(io.BytesIO(bytes(broken)), reader.media_type, 3600) as sound:
                assert all(np.isfinite(block).all() for block in sound.blocks())
        except ItemError as error:
            assert str(error)  # noqa: PT017 some of them can be read


def test_a_text_in_the_name_of_a_recording_has_no_reader_and_a_tag_alone_no_sound(tmp_path):
    assert choose("text.mp3", "это текст, а не запись\n".encode() * 50) is None
    assert choose("utf16.mp3", "this is a text\n".encode("utf-16")) is None
    (tmp_path / "tag.mp3").write_bytes(b"ID3 this is no sound\n" * 100)
    assert "damaged or cut short" in reason(tmp_path / "tag.mp3")


def test_a_playlist_opens_no_other_file(tmp_path):
    secret = write_wav(tmp_path / "secret.wav", speech())
    playlist = f"#EXTM3U\n#EXTINF:1,\nfile://{secret}\n".encode() * 20
    (tmp_path / "list.mp3").write_bytes(b"ID3\x04\0\0\0\0\0\0" + playlist)
    assert "damaged" in reason(tmp_path / "list.mp3")
    assert choose("list.mp3", playlist) is None


def test_a_longer_recording_than_allowed_is_refused(tmp_path):
    path = write_wav(tmp_path / "long.wav", np.zeros(RATE * 3))
    assert "setting audio_hours" in reason(path, most_s=2)


def test_a_recording_tells_when_it_was_made_and_its_title(tmp_path):
    path = write_made(tmp_path / "a.m4a", speech(), title="Совет дома", creation_time="2026-11-03T09:41:07Z")
    with path.open("rb") as file, Recording(file, "audio/mp4", Settings()) as recording:
        assert (recording.title, recording.time) == ("Совет дома", "2026-11-03T09:41:07.000Z")
