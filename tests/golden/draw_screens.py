"""Draws the screens that tests/contract/test_recogniser.py reads; needs the DejaVu fonts, so the pictures are kept.

    python tests/golden/draw_screens.py

Beside each picture stands a JSON list of its words with their boxes in pixels.
"""

import json
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

FONTS = Path("/usr/share/fonts/truetype/dejavu")
HERE = Path(__file__).parent
SIZE = (640, 360)
TEXT = (
    (20, 24, "Отчёт о поездке на Байкал готов к отправке"),
    (20, 60, "The quarterly budget was approved yesterday"),
    (20, 96, "Встреча перенесена на четверг, переговорная"),
    (20, 132, "Please send the invoice to Margaret Hughes"),
)


class Screen:
    """A picture that knows where each of its words stands."""

    def __init__(self, paper: str) -> None:
        self.image = Image.new("RGB", SIZE, paper)
        self.draw = ImageDraw.Draw(self.image)
        self.words: list[dict[str, object]] = []

    def write(self, x: float, y: float, text: str, ink: str, px: int, font: str = "DejaVuSans.ttf") -> None:
        face = ImageFont.truetype(FONTS / font, px)
        for word in text.split():
            self.draw.text((x, y), word, font=face, fill=ink)
            self.words.append({"text": word, "box": list(self.draw.textbbox((x, y), word, font=face))})
            x += face.getlength(word + " ")

    def save(self, name: str) -> None:
        self.image.quantize(64).save(HERE / f"{name}.png", optimize=True)
        (HERE / f"{name}.json").write_text(json.dumps(self.words, ensure_ascii=False, indent=0) + "\n", "utf-8")


def text_screen(name: str, paper: str, ink: str) -> None:
    screen = Screen(paper)
    for x, y, text in TEXT:
        screen.write(x, y, text, ink, 14)
    screen.save(name)


def heading_screen() -> None:
    screen = Screen("#101830")
    screen.write(20, 30, "Годовой план", "white", 68, "DejaVuSans-Bold.ttf")
    screen.write(20, 150, "Launch week", "white", 68, "DejaVuSans-Bold.ttf")
    screen.write(20, 280, "Выручка выросла в третьем квартале", "#c0c8e0", 15)
    screen.save("screen_heading")


def card_screen() -> None:
    screen = Screen("white")
    for x, colour, ink, text in ((20, "#1b5e20", "white", "Оплатить"), (230, "#ffd600", "black", "Подробнее")):
        screen.draw.rounded_rectangle((x, 30, x + 180, 70), 8, fill=colour)
        screen.write(x + 40, 41, text, ink, 14)
    screen.write(20, 100, "Доставка бесплатна до пятницы", "#b4b4b4", 14)
    screen.write(20, 140, "Customers also viewed these lamps", "black", 14)
    screen.save("screen_cards")


def alphabet_screen() -> None:
    """Words that Tesseract takes for words of the other alphabet, and short ones that it must leave alone."""
    screen = Screen("white")
    rows = ("General", "Appearance", "Оплата", "pager", "Report", "Кухня", "home", "Сен", "more", "Дост", "org", "торт")
    for at, text in enumerate(rows):
        screen.write(20 + 200 * (at % 3), 20 + 60 * (at // 3), text, "black", 14)
    screen.save("screen_alphabets")


if __name__ == "__main__":
    text_screen("screen_light", "white", "#202124")
    text_screen("screen_dark", "#1e1e24", "#d8dbe2")
    heading_screen()
    card_screen()
    alphabet_screen()
