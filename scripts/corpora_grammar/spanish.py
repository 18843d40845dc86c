"""Spanish sentences: agreement, ser and estar, clitics, the subjunctive of wishes."""

from dataclasses import dataclass

from corpora_grammar.sampling import Dice, fill, finish, read_words
from corpora_grammar.spanish_morphology import (
    ENDINGS,
    conjugate,
    inflect,
    pluralize,
    regular,
    subjunctive,
)

WORDS = read_words("es_XX")
NAMES = WORDS["names"]
KIN = WORDS["kin"]
ROLES = WORDS["roles"]
MANY = WORDS["many"]

# Noun entries: word:gender; "!" marks mass nouns, "*" feminine nouns that take "el" (el agua).
NOUNS = WORDS["nouns"]
LOOKS = WORDS["looks"]
PLACES = WORDS["places"]
INSIDE = WORDS["inside"]
# What else a frame may leave open, and the word list that fills it.
SLOTS = {
    "lugar": "places",
    "dentro": "inside",
    "región": "towns",
    "tema": "topics",
    "vehículo": "vehicles",
    "instrumento": "instruments",
    "materia": "subjects",
    "lavado": "dress",
}

FRAMES = WORDS["frames"]
HABITS = [frame for frame in FRAMES if not frame.startswith("!")]

TIMES = WORDS["times"]
STATES = WORDS["states"]
HAVES = WORDS["haves"]
WEATHER = WORDS["weather"]
NUMBERS = WORDS["numbers"]


@dataclass(frozen=True)
class Subject:
    """A subject with its person (0-4, the order of the verb tables) and gender."""

    text: str
    person: int
    gender: str

    @property
    def possessive(self) -> str:
        return ("mi", "tu", "su", "nuestr", "su")[self.person]

    @property
    def clitic(self) -> str:
        return ("me", "te", "le", "nos", "les")[self.person]

    @property
    def plural(self) -> bool:
        return self.person >= 3


def owned(owner: Subject, gender: str, plural: bool) -> str:
    """The owner's possessive before a noun."""
    form = owner.possessive
    return (form + ("a" if gender == "f" else "o") if form == "nuestr" else form) + (
        "s" if plural else ""
    )


def noun_phrase(dice: Dice, kind: str, owner: Subject) -> str:
    """Draws a thing of a kind with article, number or owner, and perhaps an adjective after it."""
    word, _, marks = dice.one(NOUNS[kind]).partition(":")
    gender, mass, stressed_a = marks[0], "!" in marks, "*" in marks
    look = dice.one(LOOKS[kind]) if dice.chance(0.3) else ""
    if mass or dice.chance(0.5):
        article = "el" if gender == "m" or stressed_a else "la"
        some = "un" if gender == "m" or stressed_a else "una"
        starts = [
            (article, 2),
            (some, 3),
            ("" if kind == "salvaje" else owned(owner, gender, False), 1),
        ]
        starts = [("", 2), (article, 2)] if mass else [start for start in starts if start[0]]
        start, plural = dice.weighted(starts), False
    else:
        articles = [
            ("los" if gender == "m" else "las", 3),
            ("unos" if gender == "m" else "unas", 1),
        ]
        mine = dice.one(NUMBERS) if kind == "salvaje" else owned(owner, gender, True)
        start = dice.weighted([*articles, (dice.one(NUMBERS), 2), (mine, 1)])
        word, plural = pluralize(word), True
    return f"{start} {word} {inflect(look, gender, plural) if look else ''}"


def role(dice: Dice) -> tuple[str, str]:
    """Draws somebody with a trade: (article and noun, gender)."""
    forms, female = dice.one(ROLES).split("/"), dice.chance(0.5)
    return f"{'la' if female else 'el'} {forms[female]}", "f" if female else "m"


def name_gender(name: str) -> str:
    return "f" if name.endswith("a") or name in ("Carmen", "Isabel") else "m"


def subject(dice: Dice) -> Subject:
    """Draws a subject. Pronouns are mostly dropped, as Spanish does."""
    kind = dice.weighted(
        [("dropped", 3), ("name", 3), ("kin", 3), ("role", 3), ("many", 2), ("pair", 1)]
    )
    if kind == "dropped":
        person, gender = dice.below(5), dice.one(["m", "f"])
        # Masculine and feminine differ in all but the singular "I" and "you".
        masculine, feminine = ("yo tú él nosotros ellos", "yo tú ella nosotras ellas")
        pronoun = (masculine if gender == "m" else feminine).split()[person]
        return Subject(pronoun if dice.chance(0.3) else "", person, gender)
    if kind == "name":
        name = dice.one(NAMES)
        return Subject(name, 2, name_gender(name))
    if kind == "kin":
        word, _, gender = dice.one(KIN).partition(":")
        owner = dice.one(["mi", "tu", "su", "nuestra" if gender == "f" else "nuestro"])
        return Subject(f"{owner} {word}", 2, gender)
    if kind == "role":
        text, gender = role(dice)
        return Subject(text, 2, gender)
    if kind == "many":
        text = dice.one(MANY)
        return Subject(text, 4, "f" if "las " in text or "hermanas" in text else "m")
    return Subject(f"{dice.one(NAMES[:8])} y {dice.one(NAMES[8:])}", 4, "m")


def other_person(dice: Dice, owner: Subject) -> str:
    """Draws somebody other than the subject."""
    word, _, gender = dice.one(KIN).partition(":")
    person = dice.one([dice.one(NAMES), f"{owned(owner, gender, False)} {word}", role(dice)[0]])
    return "los vecinos" if person in owner.text or owner.text in person else person


def complete(dice: Dice, frame: str, owner: Subject) -> str:
    """Fills the slots of a frame and contracts a + el and de + el."""

    def write_slot(slot: str) -> str:
        if slot in NOUNS:
            return noun_phrase(dice, slot, owner)
        if slot == "persona":
            return other_person(dice, owner)
        if slot == "pariente":
            word, _, gender = dice.one(KIN).partition(":")
            return f"{owned(owner, gender, False)} {word}"
        return dice.one(WORDS[SLOTS[slot]])

    return f" {fill(frame, write_slot)} ".replace(" a el ", " al ").replace(" de el ", " del ")


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
    verb, rest = action(dice, habit=tense in ("present", "progressive", "imperfect"), unlike=unlike)
    no = "no" if negative else ""
    # An indirect object person is doubled by its clitic.
    le = "les" if rest.startswith("a los") else "le" if verb in ("mandar", "preguntar") else ""
    if le and rest.startswith("a los vecinos"):
        le = "les"
    return f"{who.text} {no} {le} {conjugate(verb, tense, who.person)} {complete(dice, rest, who)}"


def feeling(dice: Dice, who: Subject, tense: str) -> str:
    """How somebody is: estar with an adjective that agrees, or tener with a noun."""
    if dice.chance(0.4):
        return f"{conjugate('tener', tense, who.person)} {dice.one(HAVES)}"
    state = inflect(dice.one(STATES), who.gender, who.plural)
    return f"{conjugate('estar', tense, who.person)} {dice.one(['muy ', ''])}{state}"


TENSES = [
    ("preterite", 4),
    ("present", 3),
    ("future", 1),
    ("going", 2),
    ("progressive", 2),
    ("perfect", 1),
    ("imperfect", 1.5),
]


def statement(dice: Dice) -> str:
    tense = dice.weighted(TENSES)
    who, time = subject(dice), dice.one(TIMES["future" if tense == "going" else tense])
    text = clause(dice, who, tense, negative=tense != "perfect" and dice.chance(0.12))
    first = dice.chance(0.45) or time == "ya"
    comma = "," if len(time.split()) > 2 else ""
    return finish(f"{time}{comma} {text}" if first else f"{text} {time}")


def two_actions(dice: Dice) -> str:
    who, tense = subject(dice), dice.one(["preterite", "present", "imperfect"])
    verb, rest = action(dice, habit=tense != "preterite")
    link = dice.one(["y", "y luego", "y después", "pero antes"])
    return finish(
        clause(dice, who, tense, unlike=verb),
        link,
        conjugate(verb, tense, who.person),
        complete(dice, rest, who),
    )


def subordinate(dice: Dice) -> str:
    who, other = subject(dice), subject(dice)
    kind = dice.one(
        ["porque", "mientras", "cuando", "después", "aunque", "si", "para que", "antes"]
    )
    if kind == "porque":
        reason = dice.one([dice.one(WEATHER["past"]), feeling(dice, who, "imperfect")])
        return finish(clause(dice, who, "preterite", negative=dice.chance(0.3)), "porque", reason)
    if kind == "mientras":
        return finish(
            "mientras", f"{clause(dice, other, 'imperfect')},", clause(dice, who, "preterite")
        )
    if kind == "cuando":
        return finish(
            "cuando",
            other.text,
            regular("llegar", "preterite", other.person),
            "a casa,",
            clause(dice, who, "imperfect"),
        )
    if kind in ("después", "antes"):
        verb, rest = action(dice)
        first = f"{kind} de {verb} {complete(dice, rest, who)}"
        return finish(f"{first},", clause(dice, who, "preterite", unlike=verb))
    if kind == "aunque":
        return finish("aunque", f"{dice.one(WEATHER['past'])},", clause(dice, who, "preterite"))
    if kind == "si":
        sky = dice.one(["llueve", "hace sol", "hace buen tiempo", "no llueve", "nieva"])
        return finish(
            "si",
            sky,
            f"{dice.one(['mañana', 'el domingo', 'esta tarde'])},",
            clause(dice, who, dice.one(["future", "going"])),
        )
    if other.person == who.person:
        other = Subject("los niños", 4, "m")
    wants = dice.one(["querer", "esperar"])
    return finish(
        who.text, conjugate(wants, "present", who.person), "que", clause(dice, other, "subjunctive")
    )


def speech(dice: Dice) -> str:
    who, other = subject(dice), subject(dice)
    if dice.chance(0.5):
        verb = dice.one(["contar", "pensar", "recordar", "explicar"])
        return finish(
            who.text,
            regular(verb, "preterite", who.person),
            "que",
            clause(dice, other, "imperfect"),
        )
    line = finish(clause(dice, other, dice.one(["preterite", "going", "progressive"])), end="")
    verb = dice.one(["dijo", "respondió", "explicó", "contó"])
    return f"—{line} —{verb} {dice.one([role(dice)[0], dice.one(NAMES)])}."


def question(dice: Dice) -> str:
    who = subject(dice)
    verb, rest = action(dice, habit=True)
    tense = dice.one(["present", "preterite", "going"])
    word = dice.one(["", "", "cuándo", "por qué", "con quién"])
    if word == "con quién":
        rest = rest.split(" con ")[0]
    text = finish(
        word, conjugate(verb, tense, who.person), who.text, complete(dice, rest, who), end="?"
    )
    return "¿" + text


def preference(dice: Dice) -> str:
    """Likes and dislikes with gustar, whose subject is the thing liked."""
    who = subject(dice)
    if dice.chance(0.5):
        verb, rest = action(dice, habit=True)
        liked, number = f"{verb} {complete(dice, rest, who)}", "a"
    else:
        kind = dice.one(["comida", "plato", "bebida", "fruto", "texto", "animal"])
        word, _, marks = dice.one(NOUNS[kind]).partition(":")
        mass = "!" in marks
        article = (
            ("el" if marks[0] == "m" or "*" in marks else "la")
            if mass
            else ("los" if marks[0] == "m" else "las")
        )
        liked, number = f"{article} {word if mass else pluralize(word)}", "a" if mass else "an"
    to_whom = (
        "a mí",
        "a ti",
        "a " + (who.text or "ella"),
        "a nosotros",
        "a " + (who.text or "ellos"),
    )[who.person]
    like = dice.one(["gust", "encant", "interes"])
    no = "no " if like == "gust" and dice.chance(0.3) else ""
    return finish(f" {to_whom} {no}{who.clitic} {like}{number} {liked}".replace(" a el ", " al "))


def command(dice: Dice) -> str:
    verb, rest = action(dice, habit=True)
    who = Subject("", dice.one([2, 4, 3]), "m")
    when = dice.one(["hoy", "mañana", "ahora", "por favor", "esta tarde", "antes de comer"])
    start = "no" if dice.chance(0.25) else "que" if who.person == 4 else ""
    form = (
        "vamos" if verb == "ir" and who.person == 3 and not start else subjunctive(verb, who.person)
    )
    return finish(start, form, complete(dice, rest, who), when)


def description(dice: Dice) -> str:
    """What things are like (ser), where they are (estar), and what there is (hay)."""
    kind, owner = (
        dice.one(["herramienta", "ropa", "cosa", "obra", "animal", "salvaje"]),
        subject(dice),
    )
    word, _, marks = dice.one(NOUNS[kind]).partition(":")
    gender, plural = marks[0], dice.chance(0.3)
    noun = pluralize(word) if plural else word
    beside = dice.one(["cerca de", "detrás de", "delante de", "al lado de"])
    near = f"{beside} {dice.one(PLACES)} ".replace(" de el ", " del ")
    start = owned(owner, gender, plural)
    if kind == "salvaje" and plural:
        start = dice.one(["los", "estos"]) if gender == "m" else "las"
    elif kind == "salvaje":
        start = "el" if gender == "m" or "*" in marks else "la"
    look = inflect(dice.one(LOOKS[kind]), gender, plural)
    if dice.chance(0.4):
        return finish(
            start,
            noun,
            dice.one(["están" if plural else "está", "estaban" if plural else "estaba"]),
            near,
        )
    if dice.chance(0.3):
        return finish(
            dice.one(["hay", "había"]),
            "" if plural else "un" if gender == "m" or "*" in marks else "una",
            noun,
            look,
            near,
        )
    be = "estar" if look[:3] in ("rot", "per", "can", "ham", "lim", "oxi") else "ser"
    return finish(
        start,
        noun,
        conjugate(be, dice.one(["present", "imperfect"]), 4 if plural else 2),
        dice.one(["muy", "bastante", ""]),
        look,
    )


def clitics(dice: Dice) -> str:
    """Something named first and taken up by a clitic pronoun."""
    kind = dice.one(["cosa", "ropa", "venta", "texto", "herramienta"])
    word, _, marks = dice.one([noun for noun in NOUNS[kind] if "!" not in noun]).partition(":")
    plural, female = dice.chance(0.4), marks[0] == "f"
    pronoun = ("la" if female else "lo") + ("s" if plural else "")
    article = (
        ("las" if female else "los") if plural else "el" if not female or "*" in marks else "la"
    )
    who, other = subject(dice), subject(dice)
    verb = dice.one(
        ["comprar", "encontrar", "llevar", "limpiar", "buscar", "guardar", "vender", "perder"]
    )
    tail = f"{dice.one(['en', 'cerca de'])} {dice.one(INSIDE)} ".replace(" de el ", " del ")
    noun = pluralize(word) if plural else word
    first = f"{other.text} {conjugate('ver', 'preterite', other.person)} {article} {noun}"
    link = dice.one(["y", "pero", "y después"])
    return finish(
        first,
        link,
        who.text if other.text != who.text else "",
        pronoun,
        conjugate(verb, "preterite", who.person),
        tail,
    )


def wish(dice: Dice) -> str:
    who, modal = (
        subject(dice),
        dice.one(
            ["querer", "poder", "tener que", "necesitar", "tratar de", "empezar a", "preferir"]
        ),
    )
    verb, _, link = modal.partition(" ")
    act, rest = action(dice, habit=True)
    tense = dice.one(["present", "imperfect"])
    forms = {"empezar": "empiez", "preferir": "prefier"}
    if tense == "present" and verb in forms and who.person != 3:
        form = forms[verb] + ENDINGS["present"][verb[-2:]].split()[who.person]
    else:
        form = conjugate(verb, tense, who.person)
    return finish(
        who.text, "no" if dice.chance(0.15) else "", form, link, act, complete(dice, rest, who)
    )


SENTENCES = [
    (statement, 7),
    (two_actions, 3),
    (subordinate, 6),
    (speech, 3),
    (question, 2),
    (command, 1),
    (description, 2.5),
    (wish, 2),
    (preference, 2),
    (clitics, 2),
]


def sentence(dice: Dice) -> str:
    """Draws one Spanish sentence."""
    return dice.weighted(SENTENCES)(dice)
