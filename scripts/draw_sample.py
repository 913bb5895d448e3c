"""Draws the screen that `pomnit profile` reads; needs the DejaVu fonts, so the picture is kept in the package.

    python scripts/draw_sample.py

Beside it stand its words, a line of the picture on each line.
"""

from __future__ import annotations

from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

FONTS = Path("/usr/share/fonts/truetype/dejavu")
FOLDER = Path(__file__).parents[1] / "src" / "pomnit" / "samples"
SIZE = (1440, 900)
INK, SOFT, PAPER, SIDE, LINE, BLUE = "#1f2328", "#59636e", "#ffffff", "#f3f4f6", "#d8dce1", "#2b6cb0"
SIDEBAR = ("Входящие", "Отправленные", "Черновики", "Счета", "Travel", "Projects", "Семья", "Archive")
MAILS = (
    ("Анна Сергеевна", "Расписание занятий на декабрь", "09:41"),
    ("Nord Express", "Your booking from Munich to Berlin", "09:12"),
    ("Городская клиника", "Запись к стоматологу подтверждена", "вчера"),
    ("Margaret Hughes", "Quarterly budget and travel plan", "вчера"),
    ("Магазин мебели", "Доставка дивана назначена на субботу", "вторник"),
    ("Library", "Three books are due next Monday", "вторник"),
    ("Сергей Петров", "Фотографии с Байкала готовы", "понедельник"),
    ("City Electric", "The power bill for October", "понедельник"),
)
LETTER = (
    "Добрый день! Отправляем подтверждение поездки и счёт за октябрь.",
    "Departure is at 14:05 from platform seven, carriage number 12, seat 61 by the window.",
    "Пожалуйста, распечатайте билет или покажите его на экране телефона проводнику.",
    "Tickets can be returned until the evening before the journey without any charge.",
    "Если поезд опаздывает больше чем на час, четверть стоимости возвращается на карту.",
    "Luggage up to thirty kilograms travels free; bicycles need a ticket of their own.",
    "Вопросы задавайте по телефону круглосуточно, ответим на русском и на английском.",
)
TABLE = (
    ("Пассажир", "Place", "Класс", "Price"),
    ("Иван Кузнецов", "Window 61", "второй", "84,90"),
    ("Мария Кузнецова", "Aisle 62", "второй", "84,90"),
    ("Велосипед", "Wagon 12", "багаж", "9,00"),
)


class Screen:
    """A picture that knows the lines that were written on it."""

    def __init__(self) -> None:
        self.image = Image.new("RGB", SIZE, PAPER)
        self.draw = ImageDraw.Draw(self.image)
        self.lines: list[str] = []

    def write(self, x: float, y: float, text: str, px: int = 15, ink: str = INK, *, bold: bool = False) -> None:
        face = ImageFont.truetype(FONTS / f"DejaVuSans{'-Bold' * bold}.ttf", px)
        self.draw.text((x, y), text, font=face, fill=ink)
        self.lines.append(text)

    def save(self) -> None:
        FOLDER.mkdir(exist_ok=True)
        self.image.quantize(64).save(FOLDER / "screen.png", optimize=True)
        (FOLDER / "screen.txt").write_text("\n".join(self.lines) + "\n", "utf-8")


def main() -> None:
    """Draws a window of mail, and keeps it with its words."""
    screen = Screen()
    screen.draw.rectangle((0, 0, SIZE[0], 44), fill="#e6e9ed")
    for n, colour in enumerate(("#ec6a5e", "#f4bf4f", "#61c554")):
        screen.draw.ellipse((18 + 24 * n, 15, 32 + 24 * n, 29), fill=colour)
    screen.write(620, 12, "Почта — Mail", 16, INK, bold=True)
    screen.draw.rectangle((0, 44, 210, SIZE[1]), fill=SIDE)
    for n, name in enumerate(SIDEBAR):
        screen.write(28, 72 + 40 * n, name, 15, BLUE if n == 0 else INK, bold=n == 0)
    screen.draw.line((600, 44, 600, SIZE[1]), fill=LINE)
    for n, (sender, subject, when) in enumerate(MAILS):
        top = 60 + 74 * n
        if n == 1:
            screen.draw.rectangle((210, top - 8, 599, top + 60), fill="#e8f0fa")
        screen.write(232, top, sender, 15, bold=True)
        screen.write(490, top + 1, when, 13, SOFT)
        screen.write(232, top + 27, subject, 14, SOFT)
        screen.draw.line((232, top + 60, 580, top + 60), fill=LINE)
    screen.write(636, 72, "Поездка в Берлин", 30, bold=True)
    screen.write(636, 122, "Nord Express, 17 November", 14, SOFT)
    for n, line in enumerate(LETTER):
        screen.write(636, 168 + 34 * n, line, 15)
    for row, cells in enumerate(TABLE):
        top = 440 + 40 * row
        screen.draw.line((636, top + 32, 1400, top + 32), fill=LINE)
        for column, cell in enumerate(cells):
            screen.write(640 + 200 * column, top, cell, 15, INK, bold=row == 0)
    screen.draw.rounded_rectangle((636, 640, 826, 684), 8, fill=BLUE)
    screen.write(676, 652, "Распечатать", 15, "white")
    screen.draw.rounded_rectangle((846, 640, 1036, 684), 8, outline=BLUE, width=2)
    screen.write(890, 652, "Forward", 15, BLUE)
    screen.save()


if __name__ == "__main__":
    main()
