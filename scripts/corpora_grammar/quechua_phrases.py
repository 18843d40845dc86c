"""Cusco Quechua phrases: who takes part, with what, where, and what is done."""

from dataclasses import dataclass

from corpora_grammar.quechua_morphology import PRONOUNS, derive, direct_evidential, inflect_noun
from corpora_grammar.sampling import SLOT, Dice, read_words

WORDS = read_words("quz_PE")
NAMES = WORDS["names"]
KIN = WORDS["kin"]
SIBLINGS = WORDS["siblings"]
ROLES = WORDS["roles"]
MANY = WORDS["many"]
TRAITS = WORDS["traits"]
NOUNS = WORDS["nouns"]
LOOKS = WORDS["looks"]
PLACES = WORDS["places"]
INSIDE = WORDS["inside"]
# What else a frame may leave open, and the word list that fills it.
SLOTS = {
    "place": "places",
    "inside": "inside",
    "town": "towns",
    "topic": "topics",
    "study": "studies",
    "instrument": "instruments",
}
# What stands before the verb, then the verb's root; "!" marks what is no habit.
FRAMES = WORDS["frames"]
HABITS = [frame for frame in FRAMES if not frame.startswith("!")]
NUMBERS = WORDS["numbers"]
# The derivational suffixes that go with a root.
DERIVED = WORDS["derived"]


@dataclass(frozen=True)
class Subject:
    """A subject and its person (0-6, the order of the paradigms)."""

    text: str
    person: int


@dataclass(frozen=True)
class Action:
    """What somebody does: the phrases before the verb, and the verb's stem."""

    phrases: tuple[str, ...]
    stem: str


def subject(dice: Dice) -> Subject:
    """Draws a subject."""
    kind = dice.weighted(
        [
            ("pronoun", 2.5),
            ("name", 3),
            ("kin", 3),
            ("sibling", 1),
            ("role", 3),
            ("many", 2.5),
            ("pair", 1),
        ]
    )
    if kind == "pronoun":
        person = dice.below(7)
        return Subject(PRONOUNS[person], person)
    if kind == "kin":
        owner, plural = dice.one([0, 0, 1, 2, 3, 4]), dice.chance(0.2)
        return Subject(inflect_noun(dice.one(KIN), owner=owner, plural=plural), 6 if plural else 2)
    if kind == "many":
        return Subject(dice.one(MANY), 6)
    if kind == "pair":
        first, second = dice.one(NAMES[:13]), dice.one(NAMES[13:])
        return Subject(f"{first}wan {second}wan", 6)
    text = dice.one({"name": NAMES, "sibling": SIBLINGS, "role": ROLES}[kind])
    if kind == "role" and dice.chance(0.35):
        text = f"{dice.one(TRAITS)} {text}"
    return Subject(text, 2)


def thing(dice: Dice, kind: str, case: str, person: int, *, many: bool = False) -> str:
    """Draws a noun phrase: a number or an adjective, then the inflected noun."""
    stem = dice.one(NOUNS[kind])
    before = ""
    plural = many and dice.chance(0.7)
    owner = person if dice.chance(0.2) and kind not in ("sallqa", "ukyana") else None
    if dice.chance(0.33):
        before = dice.one(LOOKS[kind])
    elif (
        not plural
        and kind in ("ima", "away", "p'acha", "llamk'ana", "sallqa", "uywa", "ruwana")
        and dice.chance(0.3)
    ):
        before = dice.one(NUMBERS)
    # A quantity is not repeated on the noun.
    plural = plural and before not in ("ashkha", "pisi")
    only = dice.chance(0.05)
    noun = inflect_noun(stem, owner=owner, plural=plural, only=only, case=case)
    return f"{before} {noun}".strip()


def somebody(dice: Dice, person: int, case: str) -> str:
    """Draws somebody who takes part, in a case."""
    kind = dice.one(["name", "kin", "role", "many"])
    if kind == "kin":
        return inflect_noun(dice.one(KIN), owner=person, plural=dice.chance(0.2), case=case)
    return inflect_noun(dice.one({"name": NAMES, "role": ROLES, "many": MANY}[kind]), case=case)


def action(dice: Dice, who: Subject, *, habit: bool = False, derived: bool = True) -> Action:
    """Draws what somebody does, with all slots filled."""
    frames = HABITS if habit else FRAMES

    def write(phrase: str) -> str:
        match = SLOT.fullmatch(phrase)
        if not match:
            return phrase
        slot, _, case = match.group(1).partition(":")
        many, slot = slot.endswith("+"), slot.rstrip("+")
        if slot in NOUNS:
            return thing(dice, slot, case, who.person, many=many)
        if slot == "person":
            drawn = somebody(dice, who.person, case)
            return drawn if who.text[:5] != drawn[:5] else "wasi masin" + case
        if slot == "kin":
            return inflect_noun(dice.one(KIN), owner=who.person, case=case)
        return dice.one(WORDS[SLOTS[slot]]) + case

    *phrases, root = dice.one(frames).removeprefix("!").split(" ")
    stem = root
    if derived and dice.chance(0.25):
        stem = derive(root, dice.one(DERIVED[root].split())) if root in DERIVED else root
    return Action(tuple(write(phrase) for phrase in phrases), stem)


def body(dice: Dice, act: Action, verb: str, *, focus: bool = True) -> str:
    """Joins phrases and verb; the evidential goes on one, most often the one before the verb."""
    words = [*act.phrases, verb]
    if focus:
        place = (
            dice.weighted([(len(words) - 2, 3), (len(words) - 1, 1.5), (0, 1)])
            if len(words) > 1
            else 0
        )
        words[place] = direct_evidential(words[place])
    return " ".join(words)


def topic(dice: Dice, who: Subject) -> str:
    """The subject as topic; a pronoun is mostly left out, since the verb says it."""
    if who.text in PRONOUNS and dice.chance(0.6):
        return ""
    return who.text + dice.weighted([("qa", 5), ("", 1.5), ("pas", 0.7), ("taq", 0.5)])
