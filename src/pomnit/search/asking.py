"""The words by which questions ask, in Russian and English: what ``question`` looks for, as patterns and stems."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal

from pomnit.text.words import stem

Wants = Literal["when", "amount", "who", "where", "why", "how", "what", "definition", "yes or no"]
Measure = Literal["money", "share", "time", "length", "weight", "count", ""]


def stems_of(words: str) -> frozenset[str]:
    """Gives the stems of words."""
    return frozenset(stem(word) for word in words.split())


def any_of(words: str) -> re.Pattern[str]:
    """Gives a pattern that finds any of these as whole words."""
    return re.compile(rf"(?<!\w)(?:{words})(?!\w)", re.IGNORECASE)


ASIDE = re.compile(r"(.*?\S)\s*\(([^()]+)\)\s*", re.DOTALL)
QUOTED = re.compile(r'"([^"]{1,200})"|“([^”]{1,200})”|„([^“”]{1,200})[“”]|«([^»]{1,200})»')
POLITE = re.compile(
    r"^\W*(?:(?:please|hi|hello|hey|ok|okay|well|so|pomnit|пожалуйста|привет|здравствуйте|слушай|помнит|ну"
    r"|так)(?!\w)[\s,!.]*"
    r"|(?:can|could|would|will) you (?:please )?(?:tell|show|remind|find|explain)(?: to)?(?: me"
    r"| us)?(?: please)?[\s,:]+"
    r"|(?:please )?(?:tell|show|remind)(?: me| us)[\s,:]+"
    r"|(?:do|did|don't) you (?:know|remember|recall)[\s,:]+"
    r"|i(?:'d| would) (?:like|love) to know[\s,:]+|i(?: want| need) to know[\s,:]+|i wonder[\s,:]+"
    r"|(?:не )?(?:можешь|можете|мог(?:ла)? бы ты|могли бы вы|смож\w+)(?: пожалуйста)?[\s,]+"
    r"(?:мне )?(?:сказать|подсказать|напомнить|показать|найти|объяснить)[\s,:]+"
    r"|(?:под)?скажи(?:те)?(?: мне| нам)?[\s,:]+|напомни(?:те)?(?: мне| нам)?[\s,:]+|ответь(?:те)?[\s,:]+"
    r"|(?:ты |вы )?(?:не )?(?:помнишь|помните|знаешь|знаете)(?: ли(?: ты| вы)?)?[\s,:]+"
    r"|(?:я )?(?:хочу|хотел(?:а)? бы|хотелось бы) (?:у)?знать[\s,:]+|(?:мне )?интересно[\s,:]+)",
    re.IGNORECASE,
)
POLITE_END = re.compile(
    r"[\s,]*(?<!\w)(?:please|thanks|thank you|пожалуйста|спасибо|плиз)(?!\w)[\s,!.]*(?=\?*\s*$)", re.IGNORECASE
)
I_LOOKED = re.compile(
    r"(?<!\w)(?:(?:я|мне|мы|нам)(?!\w)(?:\s+\w+){0,2}?\s+(?:видел|смотрел|увидел|посмотрел|чита|прочита|откры|сохран"
    r"|скача|писал"
    r"|присл|искал|нашел|нашла|снял|записа|показ)\w*"
    r"|(?:видел|смотрел|увидел|посмотрел|читал|прочитал|открывал|сохранил|скачал)[аи]?\s+(?:я|мы)(?!\w)"
    r"|(?:i|we)(?:'ve|'d)?(?:\s+\w+)?\s+(?:s[ae]en?|see|saw|look\w*|watch\w*|read|saved?|download\w*|wrote|opened"
    r"|got|found)(?!\w))",
    re.IGNORECASE,
)
WORD_OF_ASKING = (
    "кто|кого|кому|кем|чей|чья|чье|чьё|чьи|что|чего|чему|чем|как|какой|какая|какое|какие|какого|какому|каком|какую"
    "|каким|какими"
    "|каких|каков|какова|каково|каковы|сколько|скольких|скольким|почему|зачем|откуда|куда|когда|где|отчего|ли"
    "|который|которая"
    "|who|whom|whose|what|which|when|where|why|how"
)
ASKING = any_of(WORD_OF_ASKING)
YES_NO = re.compile(
    r"^\W*(?:is|are|was|were|do|does|did|has|have|had|can|could|will|would|should|am)(?!\w)|(?<!\w)(?:ли|правда"
    r"|верно)(?!\w)",
    re.IGNORECASE,
)
WHICH = any_of(
    "what|which|как(?:ой|ая|ое|ие|ого|ому|ом|ую|им|ими|их|ова|ов|ово|овы)|что|чего|чему|чем|котор(?:ый|ая|ое|ые|ого"
    "|ом|ую)"
)
PREP = r"(?:in|on|at|by|from|since|until|to|of|during|for|в|во|с|со|к|до|на|от|из|по|о|об|у|за)\s+"
PERIODS = r"год\w*|век\w*|столети\w+|десятилети\w+|дат\w|числ\w|дн[яею]|день|месяц\w*|врем\w+|час\w?"
KINDS: tuple[tuple[re.Pattern[str], Wants, Measure], ...] = (
    (any_of("how much (?:money|does|did|is|was|were)|how much (?:\\S+ ){0,4}(?:cost|pay|paid)"), "amount", "money"),
    (any_of(r"сколько(?:\s+\S+){0,3}\s+(?:стои\w+|заплат\w+|плат\w+|денег)"), "amount", "money"),
    (any_of("how long ago|since when|until when|с каких пор|до каких пор|как давно"), "when", ""),
    (any_of("how (?:many times|often)|сколько раз|как часто"), "amount", "count"),
    (any_of(r"how long|how old|сколько (?:лет|времени)|как долго"), "amount", "time"),
    (any_of("how (?:far|tall|high|deep|wide|large|big|fast|heavy|hot|cold|small)"), "amount", "length"),
    (any_of("how many|how much|сколько|скольк(?:их|им|ими)|насколько"), "amount", ""),
    (any_of(rf"(?:{PREP})?(?:what|which) (?:\S+ )?(?:year|century|decade|date|day|month|time|season)s?"), "when", ""),
    (any_of(rf"(?:{PREP})?как\w+ (?:\S+ )?(?:{PERIODS})"), "when", ""),
    (any_of("when|когда"), "when", ""),
    (any_of("what (?:does|do|did) (?:\\S+ ){1,6}(?:mean|stand for)|definition of|meaning of"), "definition", ""),
    (any_of(r"что (?:такое|значит|означает|подразумевается|понимается)"), "definition", ""),
    (re.compile(r"^\W*(?:what|who)(?:'s| is| are) (?:an? )?[\w'-]+(?: [\w'-]+)?\W*$", re.IGNORECASE), "definition", ""),
    (any_of("why|for what reason|what (?:\\S+ )?(?:reason|caused?)|почему|зачем|отчего|из-за чего"), "why", ""),
    (any_of("по какой причине"), "why", ""),
    (any_of("who|whom|whose|кто|кого|кому|кем|ком|чей|чь(?:я|е|ё|и|его|ей|ему|их|им|ими|ю)"), "who", ""),
    (any_of("where|где|куда|откуда"), "where", ""),
    (any_of("how|как|каким (?:образом|способом|путем|путём)"), "how", ""),
)  # fmt: skip
PEOPLE = stems_of(
    "person man woman people player quarterback coach president king queen emperor leader ruler minister author"
    " writer artist"
    " painter composer singer actor actress director scientist researcher inventor physicist mathematician"
    " philosopher doctor"
    " general commander governor mayor founder producer bishop pope priest historian economist professor teacher"
    " explorer"
    " engineer architect poet linebacker character company team band человек люди игрок квотербек тренер президент"
    " король"
    " королева император лидер правитель министр автор писатель художник композитор певец певица актер актриса режиссер"
    " ученый исследователь изобретатель физик математик философ врач доктор генерал командир губернатор мэр основатель"
    " продюсер епископ папа священник историк экономист профессор учитель путешественник инженер архитектор поэт"
    " персонаж"
    " компания команда группа"
)
PLACES = stems_of(
    "city town country state continent river lake mountain island region county district street place location building"
    " airport museum university college school village province sea ocean stadium address город страна штат"
    " континент река"
    " озеро гора остров регион округ район улица место здание аэропорт музей университет колледж школа деревня"
    " провинция"
    " море океан стадион адрес область край"
)
AMOUNTS = stems_of(
    "number amount percentage percent proportion population size length height width weight distance area"
    " temperature age"
    " rate speed score total depth duration volume количество число процент доля население численность размер длина"
    " высота"
    " ширина вес расстояние площадь температура возраст скорость счет сумма глубина продолжительность объем"
)
MONEY = stems_of(
    "price cost fee salary budget revenue income fare rent цена стоимость плата зарплата бюджет доход выручка оклад"
)
SHARE = stems_of("percentage percent proportion share процент доля")
NOUNS: tuple[tuple[frozenset[str], Wants, Measure], ...] = (
    (MONEY, "amount", "money"),
    (SHARE, "amount", "share"),
    (AMOUNTS, "amount", "count"),
    (PEOPLE, "who", ""),
    (PLACES, "where", ""),
)
MEASURES: Mapping[frozenset[str], Measure] = {
    stems_of("dollar euro rouble ruble pound money cent доллар евро рубль рублей фунт деньги копейка"): "money",
    SHARE: "share",
    stems_of("second minute hour day week month year decade секунда минута час день дней неделя месяц год лет"): "time",
    stems_of("meter metre kilometer kilometre mile foot feet yard inch метр километр миля фут ярд"): "length",
    stems_of("ton tonne gram kilogram pound тонна грамм килограмм"): "weight",
}
PERIOD_NOUNS = stems_of(
    "year century decade date day month time season год году век столетие десятилетие дата число день месяц"
)
"""Words that only name the kind of answer a "when" wants."""
KIND_NOUNS = PEOPLE | PLACES
"""Words that only name the kind of answer, right behind "which" or "what"."""
