"""German sentences: cases, verb-second main clauses, verb-final subordinate clauses."""

from dataclasses import dataclass, replace

from corpora_grammar.german_morphology import (
    AKK,
    DAT,
    DER,
    EIN,
    MODALS,
    NOM,
    Action,
    ending,
    finite,
)
from corpora_grammar.sampling import Dice, entries, fill, finish, read_words

WORDS = read_words("de_DE")
WOMEN = WORDS["women"]
MEN = WORDS["men"]
KIN = WORDS["kin"]
ROLES = WORDS["roles"]
MANY = WORDS["many"]
TRAITS = WORDS["traits"]

# Noun entries: singular/plural:gender; without a plural it is a mass noun.
NOUNS = WORDS["nouns"]
LOOKS = WORDS["looks"]
TOWNS = WORDS["towns"]
# What else a frame may leave open, and the word list that fills it.
SLOTS = {
    "drin": "inside",
    "reise": "towns",
    "stadt": "in_town",
    "thema": "topics",
    "fahrzeug": "vehicles",
    "instrument": "instruments",
    "fach": "subjects",
}
# Places as (where, where to); the case follows the question.
PLACES = [place.split("/") for place in WORDS["places"]]

# The rest of the clause, then the infinitive; "|" marks a separable prefix, "!" what is no habit.
FRAMES = WORDS["frames"]
HABITS = [frame for frame in FRAMES if not frame.startswith("!")]

TIMES = WORDS["times"]
STATES = WORDS["states"]
# Weather as (verb-second, verb-final).
WEATHER = [pair.split("/") for pair in WORDS["weather"]]
NUMBERS = WORDS["numbers"]


@dataclass(frozen=True)
class Subject:
    """A subject with its person (0-4: ich, du, er or sie, wir, sie) and its pronouns."""

    text: str
    person: int
    pronoun: str
    possessive: str


PRONOUNS = [
    Subject("ich", 0, "ich", "mein"),
    Subject("du", 1, "du", "dein"),
    Subject("er", 2, "er", "sein"),
    Subject("sie", 2, "sie", "ihr"),
    Subject("wir", 3, "wir", "unser"),
    Subject("sie", 4, "sie", "ihr"),
]


def noun_phrase(dice: Dice, kind: str, owner: Subject, case: int = AKK) -> str:
    """Draws a thing of a kind in a case: article, owner or number, and perhaps an adjective."""
    noun, _, gender = dice.one(NOUNS[kind]).partition(":")
    word, _, plural = noun.partition("/")
    if plural and dice.chance(0.45):
        word, gender = plural, "p"
        determiner = dice.weighted([("der", 3), ("", 2), ("ein", 1), ("number", 2)])
    else:
        determiner = dice.weighted([("der", 2), ("ein", 3)] if plural else [("der", 2), ("", 3)])
    look = dice.one(LOOKS[kind]) if dice.chance(0.33) else ""
    start = {"der": DER[gender][case], "": "", "number": dice.one(NUMBERS)}.get(determiner)
    if start is None:
        stem = (
            owner.possessive if gender == "p" or (dice.chance(0.25) and kind != "wild") else "ein"
        )
        start = stem + EIN[gender][case]
    return f"{start} {look + ending(determiner, gender, case) if look else ''} {word}"


def person(dice: Dice, owner: Subject, case: int) -> str:
    """Draws somebody other than the subject, in a case."""
    kind = dice.one(["name", "kin", "role", "many"])
    if kind == "name":
        text = dice.one(WOMEN + MEN)
    elif kind == "many":
        text = dice.one(MANY).split("/")[case == DAT]
    else:
        word, _, gender = dice.one(KIN if kind == "kin" else ROLES).partition(":")
        text = (
            f"{owner.possessive}{EIN[gender][case]} {word}"
            if kind == "kin"
            else f"{DER[gender][case]} {word}"
        )
        text = text if word not in owner.text else dice.one(WOMEN)
    return text if text not in owner.text else ("den Gästen" if case == DAT else "die Gäste")


def subject(dice: Dice) -> Subject:
    """Draws a subject."""
    kind = dice.weighted(
        [("pronoun", 3), ("name", 3), ("kin", 3), ("role", 3), ("many", 2), ("pair", 1)]
    )
    if kind == "pronoun":
        return dice.one(PRONOUNS)
    if kind == "many":
        return Subject(dice.one(MANY).split("/")[0], 4, "sie", "ihr")
    if kind == "pair":
        return Subject(f"{dice.one(WOMEN)} und {dice.one(MEN)}", 4, "sie", "ihr")
    if kind == "name":
        text, gender = (dice.one(WOMEN), "f") if dice.chance(0.5) else (dice.one(MEN), "m")
    else:
        text, _, gender = dice.one(KIN if kind == "kin" else ROLES).partition(":")
        if kind == "kin":
            text = f"{dice.one(['mein', 'unser', 'dein'])}{EIN[gender][NOM]} {text}"
        else:
            trait = dice.one(TRAITS) if dice.chance(0.35) else ""
            weak = trait and trait.removesuffix("e") + "e "
            text = f"{DER[gender][NOM]} {weak}{text}"
    return Subject(text, 2, "sie" if gender == "f" else "er", "ihr" if gender == "f" else "sein")


def complete(dice: Dice, frame: str, owner: Subject) -> str:
    """Fills the slots of a frame."""

    def write_slot(slot: str) -> str:
        if slot in NOUNS:
            return noun_phrase(dice, slot, owner)
        if slot in ("akk", "dat"):
            return person(dice, owner, AKK if slot == "akk" else DAT)
        if slot in ("wo", "wohin"):
            return dice.one(PLACES)[slot == "wohin"]
        return dice.one(WORDS[SLOTS[slot]])

    return fill(frame, write_slot)


def action(dice: Dice, who: Subject, *, habit: bool = False) -> Action:
    """Draws what somebody does, with all slots filled."""
    frames = HABITS if habit else FRAMES
    rest, _, verb = dice.one(frames).removeprefix("!").rpartition(" ")
    prefix, _, plain = verb.rpartition("|")
    if rest.endswith("spazieren"):
        rest, prefix = rest.removesuffix("spazieren"), "spazieren "
    return Action(plain, prefix, complete(dice, rest, who))


def main_clause(
    dice: Dice, who: Subject, tense: str, *, front: str = "", negative: bool = False
) -> str:
    """A verb-second clause; what belongs to the finite verb stands at its end."""
    act = action(dice, who, habit=tense in ("present", "modal"))
    if tense in ("present", "past"):
        verb, last = finite(act.verb, tense, who.person), act.prefix
    elif tense == "perfect":
        verb, last = finite(act.auxiliary, "present", who.person), act.participle
    else:
        modal = "werden" if tense == "future" else dice.one(list(MODALS)[:6])
        verb, last = finite(modal, "present", who.person), act.infinitive
    start = f"{front} {verb} {who.text}" if front else f"{who.text} {verb}"
    if negative:
        return f"{start} nie {act.rest} {last}"
    # A time that is not in front stands right after the finite verb.
    time = "" if front or dice.chance(0.4) else dice.one(times_of(tense))
    return f"{start} {time} {act.rest} {last}"


def times_of(tense: str) -> list[str]:
    """The times that go with a tense."""
    return TIMES[{"past": "past", "perfect": "past", "future": "future"}.get(tense, "present")]


def final_clause(dice: Dice, who: Subject, tense: str) -> str:
    """A subordinate clause after its conjunction: everything, then the finite verb."""
    act = action(dice, who, habit=tense == "present")
    if tense == "perfect":
        last = f"{act.participle} {finite(act.auxiliary, 'present', who.person)}"
    elif tense == "modal":
        modal = dice.one(["wollen", "müssen", "können"])
        last = f"{act.infinitive} {finite(modal, 'present', who.person)}"
    else:
        last = act.prefix + finite(act.verb, tense, who.person)
    return f"{who.text} {act.rest} {last}"


def statement(dice: Dice) -> str:
    tense = dice.weighted(
        [("past", 3), ("present", 3), ("perfect", 3), ("future", 1.5), ("modal", 2)]
    )
    negative = dice.chance(0.1)
    front = dice.one(times_of(tense)) if dice.chance(0.5) and not negative else ""
    return finish(main_clause(dice, subject(dice), tense, front=front, negative=negative))


def two_actions(dice: Dice) -> str:
    who, tense = subject(dice), dice.one(["past", "perfect", "present"])
    second = main_clause(
        dice, replace(who, text=who.pronoun), tense, front=dice.one(["dann", "danach", "später"])
    )
    return finish(f"{main_clause(dice, who, tense)},", "und", second)


def subordinate(dice: Dice) -> str:
    who, other = subject(dice), subject(dice)
    kind = dice.one(
        ["weil", "weil", "während", "als", "nachdem", "obwohl", "wenn", "um zu", "aber", "denn"]
    )
    if kind == "weil":
        reason = dice.one(WEATHER)[1]
        if dice.chance(0.5):
            state = dice.one(["sehr ", ""]) + dice.one(STATES)
            reason = f"{who.pronoun} {state} {finite('sein', 'past', who.person)}"
        return finish(f"{main_clause(dice, who, 'past')},", "weil", reason)
    if kind == "während":
        return finish(
            "während", f"{final_clause(dice, other, 'past')},", main_clause_after(dice, who, "past")
        )
    if kind == "als":
        arrival = f"als {other.text} nach Hause {finite('kommen', 'past', other.person)}"
        return finish(f"{arrival},", main_clause_after(dice, who, "past"))
    if kind == "nachdem":
        act = action(dice, who)
        had = {"haben": "hatte", "sein": "war"}[act.auxiliary]
        many = "n" if had == "hatte" else "en"
        had += ("", "st", "", many, many)[who.person]
        first = f"nachdem {who.text} {act.rest} {act.participle} {had}"
        return finish(f"{first},", main_clause_after(dice, replace(who, text=who.pronoun), "past"))
    if kind == "obwohl":
        return finish("obwohl", f"{dice.one(WEATHER)[1]},", main_clause_after(dice, who, "past"))
    if kind == "wenn":
        sky = dice.one(["regnet", "schneit", "warm ist", "nicht zu kalt ist", "nicht regnet"])
        return finish(
            "wenn es",
            dice.one(["morgen", "am Sonntag", "heute Abend"]),
            f"{sky},",
            main_clause_after(dice, who, "future"),
        )
    if kind == "um zu":
        goal = dice.one(
            entries("""
            frisches Brot zu kaufen, den Arzt zu sehen, Wasser zu holen, die Eier zu verkaufen, die
            Großeltern zu besuchen, mit dem Lehrer zu sprechen, beim Bauen zu helfen, eine
            Fahrkarte zu kaufen
        """)
        )
        moving = Action(
            dice.one(["gehen", "fahren", "laufen"]),
            "",
            dice.one(PLACES + [[t, t] for t in TOWNS])[1],
        )
        return finish(
            dice.one(TIMES["past"]),
            finite(moving.verb, "past", who.person),
            who.text,
            f"{moving.rest},",
            "um",
            goal,
        )
    if kind == "denn":
        return finish(f"{main_clause(dice, who, 'past')},", "denn", dice.one(WEATHER)[0])
    tense = dice.one(["present", "past", "perfect"])
    return finish(f"{main_clause(dice, who, tense)},", "aber", main_clause(dice, other, tense))


def main_clause_after(dice: Dice, who: Subject, tense: str) -> str:
    """A main clause whose first place a subordinate clause has taken: it starts with its verb."""
    return main_clause(dice, who, tense, front=" ").strip()


def speech(dice: Dice) -> str:
    who, other = subject(dice), subject(dice)
    if dice.chance(0.5):
        says = dice.one(["sagen", "glauben", "hören", "wissen", "erzählen"])
        verb = finite(says, "present", who.person)
        inner = final_clause(dice, other, dice.one(["present", "perfect", "modal"]))
        return finish(who.text, f"{verb},", "dass", inner)
    line = finish(main_clause(dice, other, dice.one(["present", "perfect", "modal"])), end="")
    speaker = subject(dice)
    verb = finite(dice.one(["sagen", "rufen", "antworten", "erklären"]), "past", speaker.person)
    return f"„{line}“, {verb} {speaker.text}."


def question(dice: Dice) -> str:
    word = dice.one(["", "", "wann", "warum", "seit wann", "mit wem"])
    who, tense = subject(dice), dice.one(["present", "perfect", "modal"])
    text = main_clause(dice, who, tense, front=word or " ")
    return finish(text.replace(" mit wem mit wem", " mit wem"), end="?")


def command(dice: Dice) -> str:
    wir = PRONOUNS[4]
    act = action(dice, wir, habit=True)
    when = dice.one(["morgen", "heute", "am Abend", "jetzt", "am Sonntag"])
    if dice.chance(0.5):
        return finish(act.verb, "wir", when, act.rest, act.prefix)
    return finish(act.verb, "Sie bitte", when, act.rest.replace("unser", "Ihr"), act.prefix)


def description(dice: Dice) -> str:
    """What stands where, what things are like, which is larger, and, in a relative clause, who."""
    kind = dice.one(["werkzeug", "kleidung", "ding", "bau", "tier", "wild"])
    noun, _, gender = dice.one(NOUNS[kind]).partition(":")
    word, look, who = noun.partition("/")[0], dice.one(LOOKS[kind]), subject(dice)
    where, was = dice.one(PLACES)[0], dice.one(["ist", "war"])
    style = dice.one(["there", "like", "than", "who"])
    if style == "there" and kind == "bau":
        adjective = look + ending("ein", gender, NOM)
        return finish(
            where, dice.one(["steht", "stand"]), f"ein{EIN[gender][NOM]}", adjective, word
        )
    if style == "there":
        return finish(where, dice.one(["gibt", "gab"]), "es", noun_phrase(dice, kind, who))
    if style == "like" and kind != "wild":
        degree = dice.one(["sehr", "nicht", "ziemlich", ""])
        return finish(f"{who.possessive}{EIN[gender][NOM]}", word, was, degree, look)
    if style == "than" and kind != "wild":
        more = dice.one(["größer", "älter", "schöner", "kleiner"])
        mine = dice.one(["mein", "dein", "sein"]) + {"m": "er", "f": "e", "n": "s"}[gender]
        return finish(DER[gender][NOM], word, where, was, more, "als", mine)
    role, _, sex = dice.one(ROLES).partition(":")
    one = Subject(DER[sex][NOM], 2, "", "ihr" if sex == "f" else "sein")
    relative = final_clause(dice, one, dice.one(["past", "present"]))
    return finish(DER[sex][NOM], f"{role},", f"{relative},", was, dice.one(STATES))


def infinitives(dice: Dice) -> str:
    who = subject(dice)
    act = action(dice, who, habit=True)
    start = dice.one(["versuchen", "vor|haben", "hoffen", "an|fangen", "vergessen", "beschließen"])
    forms = {"vor|haben": ("haben", "vor"), "an|fangen": ("fangen", "an")}
    verb, prefix = forms.get(start, (start, ""))
    form = finite(verb, "present", who.person)
    return finish(who.text, form, f"{prefix},", act.rest, act.zu_infinitive)


SENTENCES = [
    (statement, 8),
    (two_actions, 2),
    (subordinate, 6),
    (speech, 3.5),
    (question, 2),
    (command, 1),
    (description, 2.5),
    (infinitives, 2),
]


def sentence(dice: Dice) -> str:
    """Draws one German sentence."""
    return dice.weighted(SENTENCES)(dice)
