"""English: agreement, five tenses, do-support, articles, and clauses joined by conjunctions."""

from dataclasses import dataclass

from corpora_grammar.sampling import Dice, entries, fill, finish, read_words

WORDS = read_words("en_XX")
WOMEN = WORDS["women"]
MEN = WORDS["men"]
KIN_F = WORDS["kin_f"]
KIN_M = WORDS["kin_m"]
ROLES = WORDS["roles"]
MANY = WORDS["many"]
TRAITS = WORDS["traits"]

# A noun with a star is a mass noun; a plural that the rules would get wrong stands after a slash.
NOUNS = WORDS["nouns"]
LOOKS = WORDS["looks"]
PLACES = WORDS["places"]
# What else a frame may leave open, and the word list that fills it.
SLOTS = {
    "place": "places",
    "inside": "inside",
    "town": "towns",
    "topic": "topics",
    "subject": "subjects",
    "instrument": "instruments",
    "vehicle": "vehicles",
    "room": "rooms",
}

# The verb comes first. "!" marks what happens once and is no habit.
FRAMES = WORDS["frames"]
HABITS = [frame for frame in FRAMES if not frame.startswith("!")]
IRREGULAR = {row.split()[0]: (row.split()[1], row.split()[2]) for row in WORDS["irregular"]}
TIMES = WORDS["times"]
STATES = WORDS["states"]
WEATHER = WORDS["weather"]
MODALS = WORDS["modals"]
NUMBERS = WORDS["numbers"]


@dataclass(frozen=True)
class Subject:
    """A subject and the words that agree with it."""

    text: str
    person: int
    plural: bool
    pronoun: str
    possessive: str

    @property
    def adds_s(self) -> bool:
        return self.person == 3 and not self.plural


PRONOUNS = [
    Subject("I", 1, False, "I", "my"),
    Subject("we", 1, True, "we", "our"),
    Subject("you", 2, True, "you", "your"),
    Subject("they", 3, True, "they", "their"),
    Subject("he", 3, False, "he", "his"),
    Subject("she", 3, False, "she", "her"),
]


def subject(dice: Dice) -> Subject:
    """Draws a subject: a pronoun, a name, a relative, somebody with a trade, or several people."""
    kind = dice.weighted(
        [("pronoun", 3), ("name", 3), ("kin", 3), ("role", 3), ("many", 2), ("pair", 1)]
    )
    if kind == "pronoun":
        return dice.one(PRONOUNS)
    if kind == "many":
        return Subject(dice.one(MANY), 3, True, "they", "their")
    if kind == "pair":
        return Subject(f"{dice.one(WOMEN)} and {dice.one(MEN)}", 3, True, "they", "their")
    female = dice.chance(0.5)
    words = {"name": WOMEN if female else MEN, "kin": KIN_F if female else KIN_M, "role": ROLES}[
        kind
    ]
    text = dice.one(words)
    if kind == "kin":
        text = f"{dice.one(['my', 'our', 'your', 'his', 'her'])} {text}"
    elif kind == "role":
        text = f"the {dice.one(TRAITS) + ' ' if dice.chance(0.4) else ''}{text}"
    return Subject(text, 3, False, "she" if female else "he", "her" if female else "his")


def article(word: str) -> str:
    """Puts "a" or "an" before a word, by its first letter (no word here is an exception)."""
    return f"{'an' if word[0] in 'aeiou' else 'a'} {word}"


def plural(entry: str) -> str:
    """Forms the plural of a noun entry."""
    word, _, irregular = entry.partition("/")
    return irregular or word + "s"


def noun_phrase(dice: Dice, kind: str, owner: Subject, *, single: bool = False) -> str:
    """Draws a thing of a kind, with an article, a number or an owner."""
    entry = dice.one(NOUNS[kind])
    look = dice.one(LOOKS[kind]) + " " if dice.chance(0.35) else ""
    if entry.endswith("*"):
        return dice.weighted([("some ", 2), ("", 2), ("the ", 1)]) + look + entry[:-1]
    word = entry.partition("/")[0] + (
        " of " + entry.partition(" of ")[2] if entry.startswith("pair/") else ""
    )
    if single or dice.chance(0.3):
        return dice.weighted(
            [
                (article(look + word), 3),
                (f"the {look}{word}", 2),
                (f"{owner.possessive} {look}{word}", 1),
            ]
        )
    return (
        dice.weighted([("the ", 2), ("some ", 1), (dice.one(NUMBERS) + " ", 1), ("", 1)])
        + look
        + plural(entry)
    )


def other_person(dice: Dice, owner: Subject) -> str:
    """Draws somebody who is not the subject, in a form that may be an object."""
    draws = [
        dice.one(WOMEN + MEN),
        f"{owner.possessive} {dice.one(KIN_F + KIN_M)}",
        f"the {dice.one(ROLES)}",
    ]
    person = dice.one(draws)
    return person if person not in owner.text else "the neighbours"


def complete(dice: Dice, frame: str, owner: Subject) -> str:
    """Fills the slots of a frame."""

    def write_slot(slot: str) -> str:
        if slot.startswith("a "):
            return noun_phrase(dice, slot[2:], owner, single=True)
        if slot in NOUNS:
            return noun_phrase(dice, slot, owner)
        if slot == "person":
            return other_person(dice, owner)
        if slot == "kin":
            return f"{owner.possessive} {dice.one(KIN_F + KIN_M)}"
        return dice.one(WORDS[SLOTS[slot]])

    return fill(frame, write_slot)


def past(verb: str) -> str:
    """Forms the past tense."""
    if verb in IRREGULAR:
        return IRREGULAR[verb][0]
    if verb.endswith("e"):
        return verb + "d"
    return verb[:-1] + "ied" if verb[-1] == "y" and verb[-2] not in "aeiou" else verb + "ed"


def third(verb: str) -> str:
    """Forms the third person singular of the present."""
    if verb in ("go", "wash", "watch", "teach", "catch", "fish"):
        return verb + "es"
    if verb == "have":
        return "has"
    return verb[:-1] + "ies" if verb[-1] == "y" and verb[-2] not in "aeiou" else verb + "s"


def ing(verb: str) -> str:
    """Forms the present participle."""
    if verb in ("chop", "swim", "knit", "travel"):
        return verb + verb[-1] + "ing"
    return verb[:-1] + "ing" if verb[-1] == "e" and verb not in ("see", "be") else verb + "ing"


def be(who: Subject, *, was: bool = False) -> str:
    """The form of "be" for a subject."""
    if was:
        return "were" if who.plural or who.person == 2 else "was"
    return "is" if who.adds_s else "am" if who.pronoun == "I" else "are"


def verb_form(who: Subject, verb: str, tense: str, negative: bool) -> str:
    """Conjugates a verb for a subject, with do-support in the negative."""
    not_ = " not" if negative else ""
    participle = IRREGULAR[verb][1] if verb in IRREGULAR else past(verb)
    if tense == "progressive":
        return f"{be(who)}{not_} {ing(verb)}"
    if tense == "was doing":
        return f"{be(who, was=True)}{not_} {ing(verb)}"
    if tense == "future":
        return f"will{not_} {verb}"
    if tense == "perfect":
        return f"{'has' if who.adds_s else 'have'}{not_} {participle}"
    if tense == "past":
        return f"did not {verb}" if negative else past(verb)
    if negative:
        return f"{'does' if who.adds_s else 'do'} not {verb}"
    return third(verb) if who.adds_s else verb


def action(dice: Dice, *, habit: bool = False, unlike: str = "") -> tuple[str, str]:
    """Draws a frame as a verb and the rest; `unlike` names a verb that was just used."""
    frames = HABITS if habit else FRAMES
    if unlike:
        frames = [frame for frame in frames if frame.removeprefix("!").split(" ")[0] != unlike]
    verb, _, rest = dice.one(frames).removeprefix("!").partition(" ")
    return verb, rest


def clause(
    dice: Dice, who: Subject, tense: str, *, negative: bool = False, unlike: str = ""
) -> str:
    """Writes a clause without its time."""
    verb, rest = action(dice, habit=tense in ("present", "progressive", "was doing"), unlike=unlike)
    return f"{who.text} {verb_form(who, verb, tense, negative)} {complete(dice, rest, who)}"


def statement(dice: Dice) -> str:
    tense = dice.weighted(
        [("past", 4), ("present", 3), ("future", 2), ("progressive", 2), ("perfect", 1)]
    )
    who, time = subject(dice), dice.one(TIMES[tense])
    text = clause(dice, who, tense, negative=tense not in ("perfect",) and dice.chance(0.12))
    if (
        dice.chance(0.4)
        and tense in ("present", "past", "future")
        and not time.startswith(("when", "as "))
    ):
        return finish(f"{time},", text)
    return finish(text, time)


def two_actions(dice: Dice) -> str:
    who, tense = subject(dice), dice.one(["past", "future", "present"])
    verb, rest = action(dice, habit=tense == "present")
    first = clause(dice, who, tense, unlike=verb)
    second = verb if tense == "future" else verb_form(who, verb, tense, False)
    sometimes = "and sometimes" if tense == "present" else "and afterwards"
    link = dice.one(["and then", "and", "and later", sometimes])
    return finish(first, link, second, complete(dice, rest, who))


def subordinate(dice: Dice) -> str:
    who, again = subject(dice), subject(dice)
    kind = dice.one(["because", "while", "when", "after", "although", "if", "so"])
    if kind == "because":
        reason = (
            dice.one(WEATHER["past"])
            if dice.chance(0.5)
            else f"{who.pronoun} {be(who, was=True)} {dice.one(STATES)}"
        )
        return finish(clause(dice, who, "past", negative=dice.chance(0.3)), "because", reason)
    if kind == "while":
        return finish(clause(dice, who, "past"), "while", clause(dice, again, "was doing"))
    if kind == "when":
        arrival = f"when {again.text} came home"
        if dice.chance(0.5):
            return finish(f"{arrival},", clause(dice, who, "was doing"))
        return finish(clause(dice, who, "was doing"), arrival)
    if kind == "after":
        verb, rest = action(dice)
        return finish(
            "after",
            ing(verb),
            f"{complete(dice, rest, who)},",
            clause(dice, who, "past", unlike=verb),
        )
    if kind == "although":
        return finish("although", f"{dice.one(WEATHER['past'])},", clause(dice, who, "past"))
    if kind == "if":
        return finish(
            "if it",
            dice.one(["rains", "snows", "is sunny", "is too cold", "is warm"]),
            f"{dice.one(['tomorrow', 'tonight', 'on Sunday'])},",
            clause(dice, who, "future", negative=dice.chance(0.3)),
        )
    return finish(f"{dice.one(WEATHER['past'])},", "so", clause(dice, who, "past"))


def speech(dice: Dice) -> str:
    who, other = subject(dice), subject(dice)
    inner = clause(dice, other, dice.one(["past", "future", "progressive"]))
    if dice.chance(0.5):
        verb = dice.one(["said", "told me", "thought", "heard", "knew", "remembered"])
        inner = clause(dice, other, dice.one(["past", "was doing"]))
        return finish(who.text, verb, "that", inner)
    line = finish(inner, end=",")
    verb = dice.one(["said", "answered", "whispered", "explained"])
    speaker = dice.one(["the " + dice.one(ROLES), dice.one(WOMEN), dice.one(MEN)])
    return f'"{line}" {verb} {speaker}.'


def question(dice: Dice) -> str:
    who = subject(dice)
    verb, rest = action(dice, habit=True)
    kind = dice.one(["do", "did", "will", "where", "when", "why"])
    body = f"{who.text} {verb} {complete(dice, rest, who)}"
    helper = {
        "do": "does" if who.adds_s else "do",
        "where": "did",
        "when": "will",
        "why": "did",
    }.get(kind, kind)
    if kind == "where":
        verb = dice.one(["buy", "find", "lose", "see"])
        body = f"{who.text} {verb} {noun_phrase(dice, 'thing', who, single=True)}"
    return finish(kind if kind in ("where", "when", "why") else "", helper, body, end="?")


def command(dice: Dice) -> str:
    verb, rest = action(dice, habit=True)
    start = dice.weighted([("", 2), ("please", 2), ("don't", 1), ("please don't", 1), ("let's", 1)])
    return finish(
        start,
        verb,
        complete(dice, rest, PRONOUNS[1 if start == "let's" else 2]),
        dice.one(["today", "tomorrow", "now", "before lunch", "this evening", "with me", ""]),
    )


def description(dice: Dice) -> str:
    kind = dice.one(["tool", "clothes", "thing", "building", "animal", "wild"])
    entry = dice.one([noun for noun in NOUNS[kind] if not noun.startswith("pair")])
    word, look = entry.partition("/")[0], dice.one(LOOKS[kind])
    place, who = dice.one(PLACES), subject(dice)
    if dice.chance(0.3):
        return finish(
            "there",
            dice.one(["is", "was"]),
            article(look + " " + word),
            dice.one(["near", "behind", "next to", "in front of"]),
            "the",
            place,
        )
    if dice.chance(0.4):
        # A wall may be stone, but it is not "very stone".
        if look in ("stone", "wooden", "woollen", "lost"):
            return finish(who.possessive, word, "is near the", place)
        owner = "that" if kind == "wild" else who.possessive
        degrees = ["very", "quite", "not", "rather"]
        return finish(owner, word, dice.one(["is", "was"]), dice.one(degrees), look)
    relative = clause(dice, who, "past").removeprefix(who.text + " ")
    if who.adds_s and dice.chance(0.7):
        return finish("the", dice.one(ROLES), "who", relative, "is", dice.one(STATES))
    near = dice.one(["near", "behind", "in front of"])
    return finish("the", word, near, "the", place, "belongs to", other_person(dice, who))


def wish(dice: Dice) -> str:
    who, modal = subject(dice), dice.one(MODALS)
    verb, _, to = modal.partition(" ")
    act, rest = action(dice, habit=True)
    tense = dice.one(["present", "past"]) if verb != "prefer" else "present"
    verb = (
        {"plan": "planned", "begin": "began", "prefer": "preferred"}.get(verb, past(verb))
        if tense == "past"
        else verb_form(who, verb, tense, dice.chance(0.15))
    )
    return finish(
        who.text,
        verb,
        to,
        act,
        complete(dice, rest, who),
        dice.one(TIMES["future"][:2]) if tense == "present" and dice.chance(0.2) else "",
    )


def animals(dice: Dice) -> str:
    kind = dice.one(["animal", "wild"])
    entry, look = dice.one(NOUNS[kind]), dice.one(LOOKS[kind])
    acts = entries("""
        drank from the river, slept under a tree, ran across the field, looked for something to
        eat, hid behind the wall, waited near the gate, crossed the road, lay in the sun, ate some
        grass by the path, followed the children home, was afraid of the thunder, listened to the
        wind, walked slowly up the hill, disappeared into the forest, came back in the evening
    """)
    if kind == "wild":
        acts = [act for act in acts if "grass" not in act and "followed" not in act]
    time = dice.one(TIMES["past"])
    return finish(
        f"{time},",
        "the",
        look,
        entry.partition("/")[0],
        dice.one(acts),
        dice.one(["", "while " + clause(dice, subject(dice), "was doing")]),
    )


SENTENCES = [
    (statement, 7),
    (two_actions, 3),
    (subordinate, 6),
    (speech, 3),
    (question, 2),
    (command, 1.2),
    (description, 2.5),
    (wish, 2),
    (animals, 1.5),
]


def sentence(dice: Dice) -> str:
    """Draws one English sentence."""
    return dice.weighted(SENTENCES)(dice)
