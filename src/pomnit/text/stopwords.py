"""Words that carry no subject: they neither gather nor score. Function words of both languages and question words."""

from __future__ import annotations

from pomnit.text.words import fold

_ENGLISH = """
a about above across after again against all almost along already also although always am among an and another any
anyone anything are aren around as at away back be became because become been before behind being below beside besides
between beyond both but by called can cannot could couldn currently d did didn do does doesn doing don done down
during each either else ever every everyone everything exactly few for from further get gets give given gives go goes
got had hadn has hasn have haven having he her here hers herself him himself his how however i if in instead into is
isn it its itself just kind know known ll m main mainly many may me might mine more most mostly much must my myself
named near neither never next no nor not nothing now of off often on once one only onto or other others our ours
ourselves out over own per perhaps please quite rather re really s same say says several shall shan she should shouldn
show shows since so some someone something sometimes still such t tell than that the their theirs them themselves then
there therefore these they thing things this those though through throughout thus to together too toward towards type
under unless until up upon us use used uses using usually ve very via was wasn way we well were weren what whatever
when where whether which while who whole whom whose why will with within without won would wouldn yet you your yours
yourself yourselves
"""
_RUSSIAN = """
а без более больше будем будет будете будешь будто буду будут будучи бы был была были было быть в вам вами вас ваш
ваша ваше вашего вашей вашем вашему вашею ваши вашим вашими ваших вашу вдоль вдруг ведь весь вместо вне внутри во
вокруг вот впрочем все всегда всего всей всем всеми всему всех всею всё всю вся всякий вы где да даже два две двух для
до должен должна должно должны другая другие другим других другого другое другой другом другому другую едва ее её ей
ему если есть еще ещё ею ж же за затем зачем здесь и из изза изо или им имеет имеется имели имело имею имеют именно
ими иметь иногда иной их к каждая каждого каждое каждой каждом каждому каждую каждые каждый каждых как какая какие
каким какими каких какова каково каковы какого какое какой каком какому какую кем ко когда кого кое ком кому конечно
которая которого которое которой котором которому которую которые который которым которыми которых кроме кто куда лет
ли либо лишь лучше между менее меньше меня мне многие много мной мною мог могла могли могло могу могут может можно мои
моего моей моем моему моею моим моими моих мой мою моя моё мочь мы на навсегда над надо назван назвали назвать назови
назовите называется называют называемый называлась называлось называлось назывался назывались нам нами нас насколько
наш наша наше нашего нашей нашем нашему наши нашим нашими наших нашу не него нее неё ней нельзя нем нему неё несколько
нет нею неужели ни нибудь никакой никогда никто ним ними них ничего ничто но нужно ну о об оба обе обо обоих обычно
один одна однако одни одним одних одно одного одной одном одному одну около он она они оно опять от откуда ото отчего
очень перед передо по под подо пожалуйста позже пока покажи покажите помимо после потом потому почему почти при
примерно про против прямо раз разве разные с сам сама самая сами самим самих само самого самое самой самом самому
самую самые самый самым самых свое своего своей своем своему своею свои своим своими своих свой свою своя своё себе
себя сейчас скажи скажите сколько скольких слишком снова со собой собою совсем среди стал стала стали стало стать
сразу сюда та так такая также таки такие таким такими таких такого такое такой таком такому такую там твои твоя твой
твоё твоего твоей те тебе тебя тем теми теперь тех то тобой тобою тогда того тоже той только том тому тот точно тою ту
туда тут ты у уж уже хоть хотя чего чей чем чему через что чтоб чтобы чуть чье чьего чьей чьем чьему чьи чьим чьих чью
чья чьё чём эта эти этим этими этих это этого этой этом этому этот эту этою я явился является являлась являлись
являлось являлся являются
"""


STOP_WORDS = frozenset(fold(word) for word in (_ENGLISH + _RUSSIAN).split())
"""Folded whole words, not stems: the stem of "тема" is that of "тем"."""


def is_stop(word: str) -> bool:
    """Tells whether ``word``, as written, is a function word of either language."""
    return fold(word) in STOP_WORDS
