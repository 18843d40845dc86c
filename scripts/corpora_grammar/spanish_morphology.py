"""Spanish word forms: agreement of adjectives, plurals, and conjugation."""

from corpora_grammar.sampling import read_words

WORDS = read_words("es_XX")
# Irregular forms, in the order of persons: first, second, third, first and third plural.
PRESENT = WORDS["present"]
# Verbs whose stressed stem vowel changes in the present.
STEM_CHANGE = WORDS["stem_change"]
PRETERITE = WORDS["preterite"]
IMPERFECT = WORDS["imperfect"]
GERUND = WORDS["gerund"]
PARTICIPLE = WORDS["participle"]
ENDINGS = {
    "present": {"ar": "o as a amos an", "er": "o es e emos en", "ir": "o es e imos en"},
    "preterite": {
        "ar": "é aste ó amos aron",
        "er": "í iste ió imos ieron",
        "ir": "í iste ió imos ieron",
    },
    "imperfect": {
        "ar": "aba abas aba ábamos aban",
        "er": "ía ías ía íamos ían",
        "ir": "ía ías ía íamos ían",
    },
    "subjunctive": {"ar": "e es e emos en", "er": "a as a amos an", "ir": "a as a amos an"},
}


def inflect(adjective: str, gender: str, plural: bool) -> str:
    """Makes an adjective agree."""
    form = adjective[:-1] + "a" if gender == "f" and adjective.endswith("o") else adjective
    if not plural:
        return form
    return "jóvenes" if form == "joven" else form + ("s" if form[-1] in "aeiou" else "es")


def pluralize(word: str) -> str:
    """Forms a plural; the first word of a compound carries it."""
    head, space, rest = word.partition(" ")
    irregular = {
        "lápiz": "lápices",
        "limón": "limones",
        "pantalón": "pantalones",
        "paraguas": "paraguas",
    }
    return (irregular.get(head) or head + ("s" if head[-1] in "aeioué" else "es")) + space + rest


def regular(verb: str, tense: str, person: int) -> str:
    """Conjugates by rule, with the spelling changes of -gar, -car, -zar before e."""
    stem, ending = verb[:-2], ENDINGS[tense][verb[-2:].replace("í", "i")].split()[person]
    if ending[0] in "eé":
        for last, written in (("g", "gu"), ("c", "qu"), ("z", "c")):
            if verb.endswith(last + "ar"):
                stem = stem[:-1] + written
    return stem + ending


def conjugate(verb: str, tense: str, person: int) -> str:
    """The form of a verb; compound tenses take their auxiliary along."""
    table = {"present": PRESENT, "preterite": PRETERITE, "imperfect": IMPERFECT}.get(tense, {})
    if verb in table:
        return table[verb].split()[person]
    if tense == "present" and verb in STEM_CHANGE and person != 3:
        return STEM_CHANGE[verb] + ENDINGS["present"][verb[-2:]].split()[person]
    if tense == "subjunctive":
        return subjunctive(verb, person)
    if tense == "future":
        stem = {
            "hacer": "har",
            "salir": "saldr",
            "oír": "oir",
            "querer": "querr",
            "poder": "podr",
            "tener": "tendr",
        }.get(verb, verb)
        return stem + ("é", "ás", "á", "emos", "án")[person]
    if tense == "going":
        return f"{conjugate('ir', 'present', person)} a {verb}"
    if tense == "progressive":
        gerund = GERUND.get(verb) or verb[:-2] + ("ando" if verb.endswith("ar") else "iendo")
        return f"{conjugate('estar', 'present', person)} {gerund}"
    if tense == "perfect":
        participle = PARTICIPLE.get(verb) or verb[:-2] + ("ado" if verb.endswith("ar") else "ido")
        return f"{('he', 'has', 'ha', 'hemos', 'han')[person]} {participle}"
    return regular(verb, tense, person)


def subjunctive(verb: str, person: int) -> str:
    """The present subjunctive, formed from the first person of the present."""
    if verb == "ir":
        return ("vaya", "vayas", "vaya", "vayamos", "vayan")[person]
    if verb == "dormir" and person == 3:
        return "durmamos"
    if verb.endswith("ar"):
        changed = STEM_CHANGE.get(verb, verb[:-2]) if person != 3 else verb[:-2]
        return regular(verb, "subjunctive", person).replace(verb[:-2], changed, 1)
    stem = conjugate(verb, "present", 0)[:-1]
    if verb in STEM_CHANGE and person == 3:
        stem = verb[:-2]
    return stem + ENDINGS["subjunctive"]["er"].split()[person]
