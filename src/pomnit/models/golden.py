"""Texts that `pomnit models check` runs through a model: questions, each with its own answer, in both languages.

Made for Pomnit; no benchmark holds them. A pair's answer repeats few words of its question, so that a broken model does
not pass by counting letters.
"""

from __future__ import annotations

from pomnit.records import Lang

Pair = tuple[str, str]

ENGLISH: tuple[Pair, ...] = (
    (
        "When does the train to Berlin leave?",
        "Departure is at 14:05 from platform seven, and the carriage is number 12.",
    ),
    ("How much did we pay for electricity?", "The power bill for October came to 84 euros and was settled by card."),
    ("Where is the spare key of the flat?", "A second one hangs on a hook behind the boiler, in a blue envelope."),
    ("What should I plant in the shade?", "Ferns and hostas grow well under trees, where the sun hardly reaches."),
    ("How do I restart the web server?", "Run systemctl restart nginx and look at the log for errors afterwards."),
    ("Which medicine helps with a headache?", "Take one ibuprofen tablet after a meal when your head hurts."),
    ("Who takes the children from school?", "Grandmother picks the kids up on Tuesdays at half past three."),
    ("What is needed for the pancakes?", "Mix two eggs, a glass of flour, milk and a pinch of salt for the batter."),
    ("How far is it to the lake?", "The path along the shore begins nine kilometres north of the village."),
    ("When is the dentist free?", "The surgery can see you for your teeth on Friday morning."),
    ("What did the court decide?", "The judges ruled that the tenant may stay until the lease ends."),
    ("Why is the picture so dark?", "The photo was taken with too short an exposure and too little light."),
)
RUSSIAN: tuple[Pair, ...] = (
    ("Во сколько отходит поезд в Казань?", "Отправление в 19:40 с третьего пути, вагон девятый, место у окна."),
    ("Сколько мы заплатили за воду?", "Счёт за водоснабжение в марте вышел на 1240 рублей, оплачен картой."),
    ("Где лежат документы на машину?", "Паспорт автомобиля и страховка хранятся в верхнем ящике комода."),
    ("Чем полить огурцы от тли?", "Растворите немного хозяйственного мыла и опрыскайте грядку вечером от вредителей."),
    ("Как восстановить забытый пароль?", "Нажмите «Войти другим способом», и код для нового доступа придёт на почту."),
    ("Что принимать при простуде?", "Врач посоветовал тёплое питьё, полоскание горла и парацетамол при температуре."),
    ("Кто ведёт урок музыки?", "Занятия на фортепиано проводит Анна Сергеевна по средам."),
    ("Какие продукты нужны для борща?", "Купите свёклу, капусту, говядину на косточке, морковь и томатную пасту."),
    ("Как далеко до моря?", "Пляж в двух километрах от гостиницы, пешком около получаса."),
    ("Когда привезут диван?", "Доставка мебели назначена на субботу, между десятью и двумя."),
    ("Почему не печатает принтер?", "В лотке застряла бумага: откройте крышку и осторожно вытащите лист."),
    ("О чём договорились с подрядчиком?", "Строители обязались закончить крышу до конца сентября по прежней цене."),
)
PAIRS: dict[Lang, tuple[Pair, ...]] = {"en": ENGLISH, "ru": RUSSIAN}


def pairs(languages: tuple[Lang, ...]) -> list[tuple[Lang, Pair]]:
    """Gives the pairs in the languages that a model knows, those of one language together."""
    return [(lang, pair) for lang in PAIRS if lang in languages for pair in PAIRS[lang]]
