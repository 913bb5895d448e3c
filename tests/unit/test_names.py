"""When was a screenshot taken, by its name?"""

from __future__ import annotations

import time
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pomnit.readers.names import time_in_name

MORNING, EVENING = "2026-11-03T06:41:07.000Z", "2026-11-03T18:41:07.000Z"


@pytest.fixture(autouse=True)
def moscow(monkeypatch):
    monkeypatch.setenv("TZ", "MSK-3")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    ("name", "utc"),
    [
        ("Screenshot 2026-11-03 at 09.41.07.png", MORNING),
        ("Screenshot 2026-11-03 at 9.41.07 AM.png", MORNING),
        ("Screenshot 2026-11-03 at 9.41.07\u202fAM.png", MORNING),
        ("Screenshot 2026-11-03 at 9.41.07\u202fPM.png", EVENING),
        ("Screenshot 2026-11-03 at 9.41.07\u00a0p.m..png", EVENING),
        ("Screenshot 2026-11-03 at 21.41.07.png", EVENING),
        ("Screenshot 2026-11-03 at 21.41.07 (2).png", EVENING),
        ("Screen Shot 2026-11-03 at 21.41.07 2.png", EVENING),
        ("Screenshot 2026-11-03 at 12.05.00\u202fAM.png", "2026-11-02T21:05:00.000Z"),
        ("Screenshot 2026-11-03 at 12.05.00\u202fPM.png", "2026-11-03T09:05:00.000Z"),
        ("Снимок экрана 2026-11-03 в 09.41.07.png", MORNING),
        ("Снимок экрана 2026-11-03 в 21.41.07.png", EVENING),
        ("Снимок экрана от 2026-11-03 09-41-07.png", MORNING),
        ("Screenshot from 2026-11-03 09-41-07.png", MORNING),
        ("Bildschirmfoto 2026-11-03 um 09.41.07.png", MORNING),
        ("Screenshot_20261103_094107.png", MORNING),
        ("Screenshot_20261103-094107_Chrome.jpg", MORNING),
        ("IMG_20261103_094107.jpg", MORNING),
        ("2026-11-03_09-41.png", "2026-11-03T06:41:00.000Z"),
        ("2026-11-03-094107_1920x1080_scrot.png", MORNING),
        ("20261103094107.png", MORNING),
        ("2026-11-03T09:41:07.md", MORNING),
        ("WhatsApp Image 2026-11-03 at 09.41.07.jpeg", MORNING),
        ("2026-11-03.md", "2026-11-02T21:00:00.000Z"),
        ("notes 2026_11_03 plan.txt", "2026-11-02T21:00:00.000Z"),
    ],
)
def test_the_names_that_systems_give_say_the_time(name, utc):
    assert time_in_name(name) == utc
    assert time_in_name(unicodedata.normalize("NFD", name)) == utc


@pytest.mark.parametrize(
    "name",
    [
        "photo.png",
        "Screenshot.png",
        "Screenshot (12).png",
        "2026.png",
        "2026-11.md",
        "2026-13-03.png",
        "2026-02-30 at 10.00.png",
        "1999-11-03.png",
        "120261103.png",
        "",
    ],
)
def test_a_name_without_a_date_says_nothing(name):
    assert time_in_name(name) is None


@given(st.text("0123456789-_. atвTAPMm:\u202f", max_size=30).map(lambda end: "20" + end) | st.text(max_size=30))
def test_any_name_gives_a_time_or_nothing(name):
    found = time_in_name(name)
    assert found is None or (len(found) == 24 and found.startswith(("19", "20")) and found.endswith(".000Z"))
