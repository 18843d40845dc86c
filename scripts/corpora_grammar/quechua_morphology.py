"""Cusco Quechua word formation: which suffix follows which, and the sounds that change between.

A noun is stem - possessive - plural - limitative - case - independent suffixes; a verb is root -
derivation - object - progressive - tense - person - independent suffixes. The spelling is the
three-vowel one of the Cusco region.
"""

# First, second, third person singular; inclusive and exclusive we; second and third person plural.
PRONOUNS = ("ñuqa", "qan", "pay", "ñuqanchis", "ñuqayku", "qankuna", "paykuna")
POSSESSIVES = ("y", "yki", "n", "nchis", "yku", "ykichis", "nku")

TENSES = {
    "present": ("ni", "nki", "n", "nchis", "yku", "nkichis", "nku"),
    "past": ("rqani", "rqanki", "rqan", "rqanchis", "rqayku", "rqankichis", "rqanku"),
    "narrative": ("sqani", "sqanki", "sqa", "sqanchis", "sqayku", "sqankichis", "sqaku"),
    "future": ("saq", "nki", "nqa", "sunchis", "saqku", "nkichis", "nqaku"),
    "conditional": ("yman", "waq", "nman", "sunman", "ykuman", "waqchis", "nkuman"),
    "imperative": ("saq", "y", "chun", "sunchis", "saqku", "ychis", "chunku"),
}

# The order in which derivational suffixes follow the root.
DERIVATIONS = ("ri", "rqu", "yku", "ysi", "chi", "na", "ku", "pu", "mu")


def ends_in_vowel(word: str) -> bool:
    """Whether the last sound is a vowel: it decides most of the allomorphs."""
    return word[-1] in "aiu"


def possess(stem: str, owner: int) -> str:
    """Adds a possessive; -ni- stands between two consonants."""
    return stem + ("" if ends_in_vowel(stem) else "ni") + POSSESSIVES[owner]


def genitive(word: str) -> str:
    """Adds the genitive: -q after a vowel, -pa after a consonant."""
    return word + ("q" if ends_in_vowel(word) else "pa")


def inflect_noun(
    stem: str, *, owner: int | None = None, plural: bool = False, only: bool = False, case: str = ""
) -> str:
    """Inflects a noun: possessive, plural, limitative -lla, case."""
    word = stem if owner is None else possess(stem, owner)
    word += "kuna" if plural else ""
    word += "lla" if only else ""
    return genitive(word) if case == "q" else word + case


def direct_evidential(word: str) -> str:
    """Adds "I know it": -n after a vowel, -mi after a consonant."""
    return word + ("n" if ends_in_vowel(word) else "mi")


def reportative(word: str) -> str:
    """Adds "they say": -s after a vowel, -si after a consonant."""
    return word + ("s" if ends_in_vowel(word) else "si")


def derive(root: str, *suffixes: str) -> str:
    """Adds derivational suffixes in their order; -rqu, -yku, -ku have a before -chi, -pu, -mu."""
    word = root
    previous = ""
    for suffix in sorted(suffixes, key=DERIVATIONS.index):
        if previous in ("rqu", "yku", "ku") and suffix in ("chi", "pu", "mu"):
            word = word[:-1] + "a"
        word, previous = word + suffix, suffix
    return word


def conjugate(
    stem: str, tense: str, person: int, *, progressive: bool = False, first_object: bool = False
) -> str:
    """Conjugates a verb stem; `first_object` adds -wa-, "me", before progressive and tense."""
    middle = ("wa" if first_object else "") + ("sha" if progressive else "")
    return stem + middle + TENSES[tense][person]


def same_subject(stem: str) -> str:
    """A clause with the same subject as the main one: -spa."""
    return stem + "spa"


def other_subject(stem: str, person: int) -> str:
    """A clause with another subject than the main one: -qti- and that subject's possessive."""
    return stem + "qti" + POSSESSIVES[person]


def purpose(stem: str, person: int) -> str:
    """A clause of purpose: -na-, the subject's possessive, -paq."""
    return stem + "na" + POSSESSIVES[person] + "paq"


def completed(stem: str, person: int) -> str:
    """A nominalised clause about what has happened: -sqa- and the subject's possessive."""
    return stem + "sqa" + POSSESSIVES[person]
