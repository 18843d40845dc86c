"""Cusco Quechua sentences: verb-final, with clause linking by suffixes and an evidential."""

from corpora_grammar.quechua_morphology import (
    PRONOUNS,
    completed,
    conjugate,
    derive,
    direct_evidential,
    inflect_noun,
    other_subject,
    possess,
    purpose,
    reportative,
    same_subject,
)
from corpora_grammar.quechua_phrases import (
    INSIDE,
    LOOKS,
    NAMES,
    NOUNS,
    NUMBERS,
    PLACES,
    Action,
    Subject,
    action,
    body,
    subject,
    thing,
    topic,
)
from corpora_grammar.sampling import Dice, entries, finish, read_words

WORDS = read_words("quz_PE")


TIMES = WORDS["times"]
STATES = WORDS["states"]
SKIES = WORDS["skies"]
# Needs that are felt (the verb has -wa-, "me") and what one does about them.
NEEDS = WORDS["needs"]


def statement(dice: Dice) -> str:
    kind = dice.weighted([("past", 4), ("present", 3), ("now", 2.5), ("future", 2.5)])
    who, time = subject(dice), dice.one(TIMES[kind])
    act = action(dice, who, habit=kind in ("present", "now"))
    verb = conjugate(
        act.stem, "present" if kind == "now" else kind, who.person, progressive=kind == "now"
    )
    style = dice.below(4)
    if style == 0:
        return finish(time, topic(dice, who), body(dice, act, verb))
    if style == 1:
        return finish(direct_evidential(time), topic(dice, who), body(dice, act, verb, focus=False))
    if style == 2:
        return finish(topic(dice, who), time, body(dice, act, verb))
    return finish(topic(dice, who), body(dice, act, verb))


def negation(dice: Dice) -> str:
    kind = dice.one(["past", "present", "now", "future"])
    who = subject(dice)
    act = action(dice, who, habit=kind in ("present", "now"))
    verb = conjugate(
        act.stem, "present" if kind == "now" else kind, who.person, progressive=kind == "now"
    )
    time = dice.one(TIMES[kind]) + "qa" if dice.chance(0.3) else ""
    return finish(
        time,
        topic(dice, who),
        dice.one(["manan", "manan", "manaraq", "manañan"]),
        " ".join(act.phrases),
        f"{verb}chu",
    )


def question(dice: Dice) -> str:
    who = subject(dice)
    act = action(dice, who, habit=True)
    tense = dice.one(["past", "present", "future"])
    verb = conjugate(act.stem, tense, who.person)
    if dice.chance(0.5):
        words = [*act.phrases, verb]
        place = dice.below(len(words))
        words[place] += "chu"
        return finish(topic(dice, who), " ".join(words), end="?")
    asked = dice.one(
        ["imanaqtintaq", "hayk'aqtaq", "piwantaq", "maypitaq", "imarayku", "imaynatataq"]
    )
    kept = [
        phrase
        for phrase in act.phrases
        if not (asked == "piwantaq" and phrase.endswith("wan"))
        and not (asked == "maypitaq" and phrase.endswith("pi"))
    ]
    return finish(
        asked, topic(dice, who) if dice.chance(0.7) else "", " ".join(kept), verb, end="?"
    )


def command(dice: Dice) -> str:
    person = dice.one([1, 1, 5, 3, 2])
    who = subject(dice) if person == 2 else Subject("", person)
    person = who.person if person == 2 else person
    act = action(dice, Subject(PRONOUNS[person], person), habit=True)
    verb = conjugate(act.stem, "imperative", person)
    when = dice.one(["", "", "kunan", "paqarin", "utqaylla", "allinta"])
    if person in (1, 2, 5) and dice.chance(0.3):
        return finish("ama", when if when != "allinta" else "", " ".join(act.phrases), f"{verb}chu")
    return (
        finish(who.text if person not in (0, 4) else "", when, " ".join(act.phrases), verb)
        if person not in (0, 4)
        else statement(dice)
    )


def same_subject_clause(dice: Dice) -> str:
    """Two actions of one subject: the first verb takes -spa."""
    who, tense = subject(dice), dice.one(["past", "future", "present"])
    first, second = action(dice, who, habit=True), action(dice, who, habit=tense == "present")
    verb = conjugate(second.stem, tense, who.person)
    linked = same_subject(first.stem) + dice.one(["", "", "qa", "lla"])
    return finish(topic(dice, who), " ".join(first.phrases), linked, body(dice, second, verb))


def other_subject_clause(dice: Dice) -> str:
    """Two subjects: the first verb takes -qti-; or the weather sets the scene."""
    who, tense = subject(dice), dice.one(["past", "future", "present"])
    act = action(dice, who, habit=tense == "present")
    verb = conjugate(act.stem, tense, who.person)
    if dice.chance(0.4):
        root, before = dice.one(list(SKIES.items()))
        first = f"{before} {derive(root, 'mu') if dice.chance(0.3) else root}qtin"
    else:
        other = subject(dice)
        if other.person == who.person and who.person in (0, 1, 3, 4, 5):
            other = Subject("wawakuna", 6)
        earlier = action(dice, other, habit=True)
        first = (
            f"{other.text} {' '.join(earlier.phrases)} {other_subject(earlier.stem, other.person)}"
        )
    mark = dice.one(["", "qa", "mi"])
    first = direct_evidential(first) if mark == "mi" else first + mark
    return finish(first, topic(dice, who), " ".join(act.phrases), verb)


def purposes(dice: Dice) -> str:
    """Going to do something (-q), doing it so that somebody may do something (-na-paq)."""
    who, tense = subject(dice), dice.one(["past", "future", "present"])
    if dice.chance(0.5):
        moving = dice.one(["ri", "hamu", "kuti", "lluqsi", "puri"])
        act = action(dice, who, habit=True, derived=False)
        # Movement to a place is said once, by the verb of movement.
        phrases = [phrase for phrase in act.phrases if not phrase.endswith("man")]
        if act.stem in ("ri", "hamu", "chaya", "siqa", "hatari") or not phrases:
            act, phrases = Action((), "ranti"), [thing(dice, "qhatuna", "ta", who.person)]
        return finish(
            topic(dice, who),
            " ".join([*phrases[:-1], direct_evidential(phrases[-1])]),
            f"{act.stem}q",
            conjugate(moving, tense, who.person),
        )
    # Sending, calling or helping somebody so that they do it.
    other = subject(dice)
    if other.text in PRONOUNS or other == who:
        other = Subject(dice.one(NAMES), 2)
    wanted = action(dice, other, habit=True, derived=False)
    goal = direct_evidential(purpose(wanted.stem, other.person))
    verb = conjugate(dice.one(["kacha", "waqya", "yanapa", "suya"]), tense, who.person)
    return finish(topic(dice, who), f"{other.text}ta", " ".join(wanted.phrases), goal, verb)


def modality(dice: Dice) -> str:
    """Wanting, being able, knowing how, beginning, ending, having to, and what might be."""
    who = subject(dice)
    act = action(dice, who, habit=True)
    style = dice.weighted([("verb", 4), ("must", 2), ("might", 2), ("used to", 1.5)])
    start = topic(dice, who)
    if style == "verb":
        verb = conjugate(
            dice.one(["muna", "ati", "yacha", "qallari", "tuku"]),
            dice.one(["present", "past", "future"]),
            who.person,
        )
        return finish(start, " ".join(act.phrases), f"{act.stem}y{dice.one(['ta', 'tan'])}", verb)
    if style == "must":
        return finish(
            start,
            " ".join(act.phrases),
            direct_evidential(possess(act.stem + "na", who.person)),
            dice.one(["kan", "karqan", "kanqa"]),
        )
    if style == "might":
        verb = direct_evidential(conjugate(act.stem, "conditional", who.person))
        when = dice.one(["paqarin", "huk p'unchaw", "hamuq wata", ""])
        return finish(start, when, " ".join(act.phrases), verb)
    be = ("kani", "kanki", "", "kanchis", "kayku", "kankichis", "kanku")[who.person]
    return finish(
        dice.one(["ñawpaqqa", "ñawpa pachaqa", "wawa kaspa", "sapa wata"]),
        start,
        body(dice, act, (act.stem + "q " + be).strip(), focus=False),
    )


def speech(dice: Dice) -> str:
    """Somebody's words, closed by nispa; or what somebody knows, as a nominalised clause."""
    who, other = subject(dice), subject(dice)
    act = action(dice, other)
    if dice.chance(0.5):
        verb = conjugate(act.stem, dice.one(["past", "future"]), other.person)
        says = conjugate(dice.one(["ni", "willa", "kutichi", "rima"]), "past", who.person)
        line = finish(
            other.text if other.text not in PRONOUNS else "", body(dice, act, verb), end=""
        )
        if says.startswith("nir"):
            return finish(f'"{line}" nispan {who.text} {says}')
        return finish(f'"{line}" nispa', f"{who.text}{'qa' if dice.chance(0.4) else ''}", says)
    knows = conjugate(
        dice.one(["yacha", "uyari", "yuya", "riku", "willa"]),
        dice.one(["present", "past"]),
        who.person,
    )
    return finish(
        topic(dice, who),
        other.text,
        " ".join(act.phrases),
        f"{completed(act.stem, other.person)}{dice.one(['ta', 'tan'])}",
        knows,
    )


def description(dice: Dice) -> str:
    """What things are like, whose they are, where they are, and which is larger."""
    kind = dice.one(["llamk'ana", "p'acha", "ima", "wasi uywa", "sallqa", "ruwana", "away"])
    stem, look, who = dice.one(NOUNS[kind]), dice.one(LOOKS[kind]), subject(dice)
    style = dice.one(["is", "was", "of", "at", "there", "than", "with"])
    person = who.person if kind != "sallqa" else None
    noun = inflect_noun(stem, owner=person)
    place = dice.one(INSIDE)
    if style == "is":
        return finish(f"{noun}qa", f"{dice.one(['ancha ', '', 'aswan '])}{direct_evidential(look)}")
    if style == "was":
        return finish(f"{noun}qa", direct_evidential(look), "karqan")
    if style == "of" and who.person in (2, 6) and kind != "sallqa":
        owned = inflect_noun(stem, owner=2 if who.person == 2 else 6)
        whose = inflect_noun(who.text, case="q")
        return finish(whose, f"{owned}qa", f"{place}{dice.one(['pin', 'pi'])}", "kashan")
    if style == "there":
        count = dice.one([*NUMBERS, "ashkha"])
        return finish(
            f"{place}pi{dice.one(['qa', ''])}",
            count,
            look,
            direct_evidential(stem),
            dice.one(["kan", "kashan", "karqan"]),
        )
    if style == "than":
        # Compared with somebody else's thing of the same kind, or with another animal.
        rival = dice.one(NAMES)
        other = f"{inflect_noun(rival, case='q')} {possess(stem, 2)}manta"
        if person is None:
            other = dice.one([animal for animal in NOUNS[kind] if animal != stem]) + "manta"
        quality = direct_evidential(dice.one(["hatun", "huch'uy", "sumaq", "allin"]))
        return finish(f"{noun}qa", other, "aswan", quality)
    if style == "with" and kind != "sallqa":
        number = dice.one(NUMBERS)
        suffix = "yuqmi" if stem[-1] in "aiu" else "niyuqmi"
        be = ("kani", "kanki", "", "kanchis", "kayku", "kankichis", "kanku")[who.person]
        return finish(f"{who.text}qa", number, look, f"{stem}{suffix}", be)
    inside = direct_evidential(place + "pi")
    return finish(look, f"{noun}{dice.one(['qa', ''])}", inside, dice.one(["kashan", "kasharqan"]))


# Things that somebody makes: the roots that go with them, and what they may be like.
MADE = {
    "away": ("awa ranti qhatu", "sumaq musuq"),
    "tarpuna": ("tarpu qhatu", "allin puqusqa"),
    "wayk'una": ("wayk'u mikhu", "misk'i q'uñi"),
    "ruwana": ("ruwa hatarichi", "hatun allin"),
    "qillqa": ("qillqa ñawincha", "sumaq mawk'a"),
}


def relative(dice: Dice) -> str:
    """Relative clauses: who does something (-q), what somebody has done (-sqa-)."""
    who = subject(dice)
    if dice.chance(0.5):
        act = action(dice, Subject("pay", 2), habit=True)
        later = action(dice, Subject("pay", 2))
        return finish(
            " ".join(act.phrases),
            f"{act.stem}q",
            f"{dice.one(['runa', 'warmi', 'qhari', 'sipas', 'wayna'])}qa",
            body(dice, later, conjugate(later.stem, dice.one(["past", "future"]), 2)),
        )
    kind, (roots, looks) = dice.one(list(MADE.items()))
    owner = (
        inflect_noun(who.text, case="q")
        if " " not in who.text or who.person == 2
        else "llaqta runakunaq"
    )
    return finish(
        owner,
        completed(dice.one(roots.split()), who.person if owner != "llaqta runakunaq" else 6),
        f"{dice.one(NOUNS[kind])}qa",
        f"{dice.one(['ancha ', ''])}{direct_evidential(dice.one(looks.split()))}",
    )


def feelings(dice: Dice) -> str:
    who = subject(dice)
    act = action(dice, who, habit=True)
    style = dice.one(["state", "hunger", "object"])
    if style == "state":
        be = conjugate("ka", "present", who.person, progressive=True)
        state = dice.one(STATES)
        return finish(
            " ".join(act.phrases),
            same_subject(act.stem),
            topic(dice, who),
            direct_evidential(state),
            be,
        )
    if style == "hunger":
        need, remedy = dice.one(list(NEEDS.items()))
        time = direct_evidential(dice.one(TIMES["now"]))
        relief = remedy.replace("{food}", thing(dice, "mikhuna", "ta", 0))
        relief = relief.replace("{drink}", thing(dice, "ukyana", "ta", 0))
        relief = relief.replace("{clothes}", thing(dice, "p'acha", "ta", 0))
        link = dice.one(["chayrayku", "chaymi"])
        return finish(time, f"{need}wa{dice.one(['shan', 'n'])},", link, relief)
    helper = subject(dice)
    person = helper.person if helper.person in (2, 6) else 2
    name = helper.text if helper.person in (2, 6) else dice.one(NAMES)
    verb = conjugate(
        dice.one(["yanapa", "waqya", "watuku", "suya", "uyari", "riku", "maska"]),
        dice.one(["present", "past"]),
        person,
        first_object=True,
        progressive=dice.chance(0.3),
    )
    return finish(
        f"{name}qa",
        dice.one(TIMES["past"] + TIMES["now"]),
        direct_evidential(dice.one(INSIDE) + "pi"),
        verb,
    )


def tale(dice: Dice) -> str:
    """Tales about animals, which one knows from others: reportative and narrative past."""
    time, beast = dice.one(TIMES["narrative"]), dice.one(NOUNS["sallqa"])
    look = dice.one([*LOOKS["sallqa"], ""])
    other = dice.one([animal for animal in NOUNS["sallqa"] + NOUNS["uywa"] if animal != beast])
    deed = dice.one(
        entries("""
        {place}man risqa, {other}wan tupasqa, {other}wan rimasqa, {place}pi puñusqa, {other}ta
        qhawasqa, {other}ta qatisqa, {place}pi mikhunata maskasqa, unuta ukyasqa, {other}manta
        ayqisqa, {other}ta mancharichisqa, {place}manta uraykamusqa, {other}ta watukusqa, {other}ta
        yanapasqa, {other}wan pukllasqa, {place}pi pakakusqa, qaqa patapi tiyasqa, runakunaq
        wasinman chayasqa, {other}ta ch'aqwasqa, tukuy tuta purisqa, {place}pi waqasqa
    """)
    )
    deed = deed.replace("{place}", dice.one(PLACES)).replace("{other}", other)
    before = dice.one(
        [
            "",
            "yarqaymanta",
            "chirimanta",
            "sapallan",
            "kusisqa",
            "llakisqa",
            "tutayaqtin",
            "inti lluqsimuqtin",
            "para chayaqtin",
            "mancharisqa",
        ]
    )
    ending = dice.one(
        [
            "",
            f", chaymantas {dice.one(PLACES)}man kutisqa",
            f", {other}taq asikusqa",
            ", hinaspas puñupusqa",
            f", {other}taq {dice.one(PLACES)}man ripusqa",
        ]
    )
    return finish(
        reportative(time),
        f"{dice.one(['huk ', ''])}{look}",
        f"{beast}{dice.one(['qa', ''])}",
        before,
        f"{deed}{ending}",
    )


SENTENCES = [
    (statement, 7),
    (negation, 2),
    (question, 2),
    (command, 1.2),
    (same_subject_clause, 3.5),
    (other_subject_clause, 3),
    (purposes, 2.5),
    (modality, 3),
    (speech, 2.5),
    (description, 2.5),
    (relative, 2),
    (feelings, 2),
    (tale, 1.8),
]


def sentence(dice: Dice) -> str:
    """Draws one Quechua sentence."""
    return dice.weighted(SENTENCES)(dice)
