"""German word forms: endings by case and gender, and the parts of the verb."""

from dataclasses import dataclass

from corpora_grammar.sampling import read_words

NOM, AKK, DAT = range(3)
WORDS = read_words("de_DE")
# Strong and irregular verbs: third person present, stem of the past, participle. A participle with
# "+" takes "sein".
STRONG = {row.split()[0]: row.split()[1:] for row in WORDS["strong"]}
MODALS = WORDS["modals"]
# The articles, by gender ("p" is the plural) and case.
DER = {
    "m": ("der", "den", "dem"),
    "f": ("die", "die", "der"),
    "n": ("das", "das", "dem"),
    "p": ("die", "die", "den"),
}
EIN = {"m": ("", "en", "em"), "f": ("e", "e", "er"), "n": ("", "", "em"), "p": ("e", "e", "en")}


def ending(determiner: str, gender: str, case: int) -> str:
    """The ending of an attributive adjective after "der", "ein" or nothing."""
    if determiner == "der" or (gender == "p" and determiner == "ein"):
        return "e" if (case == NOM and gender != "p") or (case == AKK and gender in "fn") else "en"
    strong = {
        "m": ("er", "en", "em"),
        "f": ("e", "e", "er"),
        "n": ("es", "es", "em"),
        "p": ("e", "e", "en"),
    }
    return "en" if determiner == "ein" and case == DAT else strong[gender][case]


@dataclass(frozen=True)
class Action:
    """A verb and its company: `rest` stands between the finite verb and the end of the clause."""

    verb: str
    prefix: str
    rest: str

    @property
    def infinitive(self) -> str:
        return self.prefix + self.verb

    @property
    def zu_infinitive(self) -> str:
        # A separable prefix takes "zu" in (aufzumachen); another word before the verb does not.
        inside = self.prefix and not self.prefix.endswith(" ")
        return f"{self.prefix}zu{self.verb}" if inside else f"{self.prefix} zu {self.verb}"

    @property
    def participle(self) -> str:
        form = (
            STRONG[self.verb][2].lstrip("+")
            if self.verb in STRONG
            else f"ge{weak_stem(self.verb)}t"
        )
        return self.prefix + form

    @property
    def auxiliary(self) -> str:
        moves = self.verb in STRONG and STRONG[self.verb][2].startswith("+")
        return "sein" if moves else "haben"


def weak_stem(verb: str) -> str:
    """The stem before a consonant ending, with its helping vowel (arbeit-e-t)."""
    stem = verb[:-2] if verb.endswith("en") else verb[:-1]
    return stem + "e" if stem[-1] in "td" or stem.endswith(("chn", "ffn")) else stem


def finite(verb: str, tense: str, person: int) -> str:
    """Conjugates the verb without its prefix."""
    if verb in MODALS and tense == "present":
        return MODALS[verb].split()[person]
    return present(verb, person) if tense == "present" else past(verb, person)


def present(verb: str, person: int) -> str:
    """The present; strong verbs change their vowel in the second and third person singular."""
    stem = verb[:-2] if verb.endswith("en") else verb[:-1]
    third = STRONG[verb][0] if verb in STRONG else weak_stem(verb) + "t"
    first = stem[:-2] + "le" if verb.endswith("eln") else stem + "e"
    loses_t = third.endswith("et") or (third[-1] == "t" and not stem.endswith("t"))
    base = third[:-1] if loses_t else third
    second = base + ("t" if base[-1] in "sßz" else "st")
    return (first, second, third, verb, verb)[person]


def past(verb: str, person: int) -> str:
    """The simple past, whose first and third person are its bare stem."""
    stem = STRONG[verb][1] if verb in STRONG else weak_stem(verb) + "te"
    if stem.endswith("e"):
        return stem + ("", "st", "", "n", "n")[person]
    second = "t" if stem.endswith("ß") else "est" if stem[-1] in "std" else "st"
    return stem + ("", second, "", "en", "en")[person]
