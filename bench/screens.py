"""Scripted screens for bench/regions.py: of somebody who types, scrolls, toggles, watches, chats and changes windows.

Each script yields frames with the text that can be read on them; lines that an edge cuts are not counted.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont

SANS, MONO = "DejaVuSans.ttf", "DejaVuSansMono.ttf"

RU = (
    "Вчера вечером соседи собрались во дворе и решили починить старую калитку до первых морозов.",
    "Поезд из Казани задерживается на сорок минут, встречающих просят пройти в зал ожидания.",
    "Врач посоветовала больше гулять, меньше нервничать и прийти на повторный осмотр через месяц.",
    "Договор подписан обеими сторонами, оплата производится в течение десяти рабочих дней.",
    "В библиотеке нашлась карта города тысяча девятьсот двенадцатого года с пометками архитектора.",
    "Если мука лежала в тепле, тесто поднимется быстрее, но хлеб выйдет менее ароматным.",
    "Программа сохраняет черновик каждые тридцать секунд и показывает время последней правки.",
    "Школьники высадили вдоль аллеи молодые клёны, рябину и несколько кустов сирени.",
    "Сломанный холодильник увезли мастера, обещали вернуть исправный прибор к пятнице.",
    "На совещании обсуждали бюджет, найм двух инженеров и перенос выпуска на весну.",
    "Река за ночь поднялась почти на метр и подошла к нижним ступеням набережной.",
    "Бабушка прислала посылку: варенье из крыжовника, шерстяные носки и старые фотографии.",
)
EN = (
    "The harbour master closed the northern pier after the storm had loosened several heavy planks.",
    "Quarterly revenue grew by eleven percent while the cost of shipping remained almost unchanged.",
    "Please water the tomatoes twice a week and leave the greenhouse window slightly open at night.",
    "The committee postponed its decision because two of the seven members were travelling abroad.",
    "A small memory leak appeared after the upgrade and disappeared once the cache was limited.",
    "Her grandfather repaired clocks, violins and, on one memorable occasion, a church organ.",
    "The museum lends audio guides in nine languages and keeps a quiet room for visitors.",
    "Nobody expected the ferry to arrive before midnight, yet it docked shortly after eleven.",
    "Our landlord promised new radiators for the hallway and a working lock for the bicycle cellar.",
    "The recipe asks for two lemons, a pinch of saffron and patience with the slow oven.",
    "Engineers measured the bridge again and found that the western cable had stretched slightly.",
    "Every apprentice spends a month in the archive before writing a single public report.",
)
LABELS = (
    "Automatic updates",
    "Show notifications",
    "Уведомления о письмах",
    "Play sounds",
    "Тёмная тема оформления",
    "Check spelling",
    "Save drafts",
    "Проверять орфографию",
    "Remember passwords",
    "Keep history",
    "Геолокация для карт",
    "Start with system",
    "Share statistics",
    "Резервное копирование",
    "Reduce motion",
    "Large pointer",
    "Высокая контрастность",
    "Battery saver",
)


@dataclass(frozen=True)
class Shot:
    """One frame of a script."""

    image: Image.Image
    text: str  # that can be read on it
    window: str = "window"
    sight: bool = True  # counted: the first sight of a window is read as a whole by either way


@dataclass(frozen=True)
class Look:
    """What a screen looks like."""

    scale: int = 1
    dark: bool = False
    size: int = 14  # of letters, in pixels of a 1x screen
    mono: bool = False

    @property
    def paper(self) -> str:
        return "#1e2229" if self.dark else "#ffffff"

    @property
    def ink(self) -> str:
        return "#d5d8de" if self.dark else "#22262b"

    @property
    def panel(self) -> str:
        return "#2a3039" if self.dark else "#eef1f5"


class Canvas:
    """A screen to draw on, in pixels of a 1x screen; it keeps what can be read on it."""

    def __init__(self, look: Look, width: int = 1440, height: int = 900, paper: str | None = None) -> None:
        self.look, self.text = look, list[str]()
        self.image = Image.new("RGB", (width * look.scale, height * look.scale), paper or look.paper)
        self._draw = ImageDraw.Draw(self.image)
        self._fonts: dict[tuple[str, int], ImageFont.FreeTypeFont] = {}

    def font(self, size: int | None = None) -> ImageFont.FreeTypeFont:
        """Gives the font of a size."""
        key = (MONO if self.look.mono else SANS, (size or self.look.size) * self.look.scale)
        if key not in self._fonts:
            self._fonts[key] = ImageFont.truetype(*key)
        return self._fonts[key]

    def write(self, x: float, y: float, text: str, *, fill: str | None = None, size: int | None = None) -> None:
        """Draws a line of text, its top left at x, y."""
        self._draw.text((x * self.look.scale, y * self.look.scale), text, fill or self.look.ink, self.font(size))
        self.text.append(text)

    def box(self, x0: float, y0: float, x1: float, y1: float, fill: str, radius: float = 0) -> None:
        """Draws a box."""
        corners = tuple(edge * self.look.scale for edge in (x0, y0, x1, y1))
        self._draw.rounded_rectangle(corners, radius * self.look.scale, fill)

    def width(self, text: str, size: int | None = None) -> float:
        """Gives how wide a text is."""
        return self.font(size).getlength(text) / self.look.scale

    def wrap(self, text: str, width: float) -> list[str]:
        """Gives the lines of a text."""
        lines, line = [], ""
        for word in text.split():
            if line and self.width(f"{line} {word}") > width:
                lines.append(line)
                line = word
            else:
                line = f"{line} {word}".strip()
        return [*lines, line]

    def shot(self, window: str = "window", *, sight: bool = True) -> Shot:
        """Gives what is drawn."""
        return Shot(self.image, "\n".join(self.text), window, sight)


def _frame_around(canvas: Canvas, title: str, clock: str = "") -> None:
    canvas.box(0, 0, 1440, 34, canvas.look.panel)
    canvas.write(16, 8, title)
    canvas.write(1370, 8, clock)
    canvas.box(0, 34, 220, 900, canvas.look.panel)
    for i, name in enumerate(("Inbox", "Черновики", "Projects", "Архив", "Family", "Счета", "Travel", "Рецепты")):
        canvas.write(20, 60 + 34 * i, name)


def _prose(sentences: Sequence[str], count: int, seed: int) -> str:
    chosen = random.Random(seed)
    return " ".join(chosen.choice(sentences) for _ in range(count))


def typing(sentences: Sequence[str], look: Look) -> Iterator[Shot]:
    """An editor: a few words more in each frame, a caret that blinks, a clock that goes on."""
    before, new = _prose(sentences, 14, 1), _prose(sentences, 9, 2).split()
    for frame in range(24):
        canvas = Canvas(look)
        _frame_around(canvas, "Draft of the letter", f"09:{10 + frame // 8:02}")
        lines = canvas.wrap(before, 980) + canvas.wrap(" ".join(new[: frame * 4]), 980)
        for i, line in enumerate(lines):
            canvas.write(260, 70 + 25 * i, line)
        if frame % 2:
            end = 262 + canvas.width(lines[-1])
            canvas.box(end, 68 + 25 * (len(lines) - 1), end + 1, 89 + 25 * (len(lines) - 1), look.ink)
        yield canvas.shot(sight=frame > 0)


def scrolling(sentences: Sequence[str], look: Look, *, smooth: bool) -> Iterator[Shot]:
    """An article under a header, beside a list: scrolled by whole pixels, or ``smooth``, by parts of them."""
    tall = Canvas(look, 1180, 4600)
    pitch, lines = 26, list[tuple[int, str]]()
    for number in range(20):
        top = lines[-1][0] + 44 if lines else 20
        lines += [(top + pitch * i, line)
                  for i, line in enumerate(tall.wrap(_prose(sentences, 5, 10 + number), 1100))]  # fmt: skip
    for y, line in lines:
        tall.write(30, y, line)
    at, chosen = 0.0, random.Random(5)
    for frame in range(16):
        canvas = Canvas(look)
        _frame_around(canvas, "News of the week", "10:20")
        page = tall.image.crop((0, int(at * look.scale), tall.image.width, int(at * look.scale) + 870 * look.scale))
        part = at * look.scale % 1
        if part:
            page = page.transform(page.size, Image.Transform.AFFINE, (1, 0, 0, 0, 1, part), Image.Resampling.BILINEAR)
        canvas.image.paste(page.crop((0, 0, page.width, 866 * look.scale)), (240 * look.scale, 34 * look.scale))
        canvas.text += [line for y, line in lines if at + 2 <= y and y + 1.4 * look.size <= at + 864]
        yield canvas.shot(sight=frame > 0)
        at += chosen.choice((120, 60, 240, 300, 180, -100)) + (chosen.choice((0.4, 0.25, -0.5)) if smooth else 0)
        at = max(0.0, at)


def toggles(look: Look) -> Iterator[Shot]:
    """A page of settings: switches go on and off, a value changes."""
    chosen, on = random.Random(3), set[int]()
    for frame in range(14):
        canvas = Canvas(look)
        _frame_around(canvas, "Settings", "11:30")
        for i, label in enumerate(LABELS):
            y = 70 + 44 * i
            canvas.write(270, y, label)
            canvas.box(900, y - 2, 940, y + 18, "#2f7de1" if i in on else "#9aa3ad", 10)
            x = 921 if i in on else 901
            canvas.box(x, y, x + 18, y + 17, "#ffffff", 9)
        canvas.write(1000, 70, f"Storage used: {412 + frame * 7} megabytes")
        yield canvas.shot(sight=frame > 0)
        on ^= {chosen.randrange(len(LABELS))}


def video(sentences: Sequence[str], look: Look) -> Iterator[Shot]:
    """A page with a playing video that has subtitles, and comments below it."""
    noise, lines = np.random.default_rng(4), _prose(sentences, 12, 30)
    for frame in range(36):
        canvas = Canvas(look)
        _frame_around(canvas, "Documentary", "12:40")
        for i, line in enumerate(canvas.wrap(lines, 1100)[:12]):
            canvas.write(260, 540 + 26 * i, line)
        coarse = noise.integers(0, 160, (6, 10, 3), np.uint8)
        moving = Image.fromarray(coarse).resize((800 * look.scale, 450 * look.scale), Image.Resampling.BICUBIC)
        canvas.image.paste(moving, (260 * look.scale, 60 * look.scale))
        yield canvas.shot(sight=frame > 0)  # subtitles are left out of the text: they are gone in a moment


def chat(look: Look) -> Iterator[Shot]:
    """Messages that come in below, the older ones move up; the list beside shows the last one's beginning."""
    chosen = random.Random(6)
    measure = Canvas(look)
    messages = [(chosen.random() < 0.5, measure.wrap(chosen.choice(RU if chosen.random() < 0.6 else EN), 480))
                for _ in range(34)]  # fmt: skip
    for frame in range(20):
        canvas = Canvas(look)
        y = 880.0
        for mine, lines in reversed(messages[: 14 + frame]):
            high = 24 * len(lines) + 16
            y -= high + 10
            if y < 34 - high:
                break
            x = 860 if mine else 250
            canvas.box(x, y, x + 520, y + high, "#2f5f8f" if look.dark and mine else canvas.look.panel, 10)
            for i, line in enumerate(lines):
                canvas.write(x + 18, y + 8 + 24 * i, line)
                if y + 8 + 24 * i < 40:
                    canvas.text.pop()
        _frame_around(canvas, "Соседи", f"13:{frame:02}")
        canvas.write(20, 400, " ".join(messages[13 + frame][1][0].split()[:3]))
        yield canvas.shot(sight=frame > 0)


def windows(look: Look) -> Iterator[Shot]:
    """Three windows by turns; one of them grows meanwhile."""
    seen = set[str]()
    for frame, name in enumerate("ABABCACBABCACBAB"):
        canvas = Canvas(look if name != "C" else Look(look.scale, not look.dark, look.size))
        _frame_around(canvas, {"A": "Report", "B": "Почта", "C": "Notes"}[name], f"14:{frame:02}")
        sentences = RU if name == "B" else EN
        more = _prose(EN, 4, 77).split()[: 3 * frame] if name == "A" else []
        for i, line in enumerate(
            canvas.wrap(_prose(sentences, 16, ord(name)), 1100) + canvas.wrap(" ".join(more), 900)
        ):
            canvas.write(260, 60 + 27 * i, line)
        yield canvas.shot(name, sight=name in seen)
        seen.add(name)


SCRIPTS: dict[str, Callable[[], Iterator[Shot]]] = {
    "typing, Russian": lambda: typing(RU, Look()),
    "typing, English, dark": lambda: typing(EN, Look(dark=True, mono=True)),
    "typing, 2x": lambda: typing(RU, Look(scale=2)),
    "scrolling": lambda: scrolling(RU, Look(), smooth=False),
    "scrolling, 2x, dark": lambda: scrolling(EN, Look(scale=2, dark=True), smooth=False),
    "scrolling, smooth": lambda: scrolling(EN, Look(size=15), smooth=True),
    "toggles": lambda: toggles(Look(dark=True)),
    "video": lambda: video(EN, Look()),
    "chat": lambda: chat(Look(dark=True)),
    "chat, 2x": lambda: chat(Look(scale=2)),
    "windows": lambda: windows(Look()),
}
