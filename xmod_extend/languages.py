"""Language codes: X-MOD's own form, its BCP 47 equivalent and a name for people.

X-MOD writes a language as `ll_CC` or `lll_CC`: an ISO 639 code, an underscore, and a region of two
capital letters, where `XX` stands for no region. The code becomes the key of a module, so nothing
else is accepted: no hyphen, no dot, no script.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from string import ascii_lowercase

from xmod_extend.errors import LanguageError

NO_REGION = "XX"

# X-MOD's own code for Esperanto has a region that does not exist.
_NO_REGION_EITHER = frozenset({"eo_EO"})

_FORM = re.compile(r"(?P<language>[a-z]{2,3})_(?P<region>[A-Z]{2})")

# Registered, but not the name of one language.
_NOT_A_LANGUAGE = frozenset({"und", "mul", "mis", "zxx"})

# Withdrawn in favour of several languages, so that no one code takes its place.
_SPLIT = {"sh": ("sr", "hr", "bs")}

# Two codes for what is one language in X-MOD, the second one being X-MOD's own: its Tagalog is
# Filipino, and its Norwegian, as XLM-R's, is nearly all Bokmål. Nynorsk (nn) is another.
_SAME_AS = {"fil": "tl", "nb": "no"}


@dataclass(frozen=True)
class Language:
    """A language as X-MOD, the web and people write it."""

    code: str
    """X-MOD's form and the adapter's name, such as `quz_PE`."""

    bcp47: str
    """The tag for model cards and data sets, such as `quz-PE`; no region where the code has XX."""

    name: str
    """In English, such as `Cusco Quechua (Peru)`."""


def parse_language(code: str, *, existing: Sequence[str] = ()) -> Language:
    """Check a code and describe its language.

    The same language with another region (`de_CH` beside `de_DE`) is a language of its own.

    Args:
        code: X-MOD's form, such as `quz_PE`. Case and separator count.
        existing: The codes that a base already has; `code` must not be one of them.

    Raises:
        LanguageError: The form is wrong, the language or region is not registered, the code was
            withdrawn for another one, or the base already has the language. The hint names the
            nearest code that would be accepted.
    """
    form = _FORM.fullmatch(code)
    if form is None:
        raise LanguageError(
            f"{code!r} is not a language code of the form ll_CC or lll_CC, such as quz_PE.",
            hint=_hint(_near_malformed(code)),
        )
    language, region = form["language"], form["region"]
    if not _is_language(language):
        raise LanguageError(
            f"{code!r} names no registered language: {language!r} is unknown.",
            hint=_hint(_near_language(language, region)),
        )
    _refuse_alias(language, region, existing)
    if not _is_region(region) and code not in _NO_REGION_EITHER:
        raise LanguageError(
            f"{code!r} names no registered region: {region!r} is unknown.",
            hint=_hint([f"{language}_{near}" for near in _near_region(language, region)]),
        )
    taken = next((known for known in existing if known.casefold() == code.casefold()), None)
    if taken is not None:
        raise LanguageError(
            f"The base already has {taken}.",
            hint="Only a language that the base lacks can be added; "
            "the languages it has are listed by `info` and measured by `probe`.",
        )
    return _describe(language, region)


def is_code(code: str) -> bool:
    """Return whether a code has X-MOD's form, be its language registered or not."""
    return _FORM.fullmatch(code) is not None


def _refuse_alias(language: str, region: str, existing: Sequence[str]) -> None:
    """Refuse a second code for a language, which would become a second adapter beside its equal.

    Codes of narrower languages beside a wider one (`quz` and `qu`, `arb` and `ar`) are no aliases.
    """
    names = _in_use(language)
    if names != (language,):
        raise LanguageError(
            f"The code {language} was withdrawn; {' or '.join(names)} took its place.",
            hint=_hint(
                [
                    f"{name}_{near}"
                    for name in names
                    for near in ([region] if _is_region(region) else _near_region(name, region))
                ]
            ),
        )
    for known in existing:
        other = known.partition("_")[0]
        if other == language or _one_name(other) != _one_name(language):
            continue
        hint = "Only a language that the base lacks can be added."
        if _in_use(other) == (other,) and known != f"{other}_{region}":
            hint = f"To add another variety of it, write it with the base's code: {other}_{region}."
        raise LanguageError(
            f"The base already has {known}, and {other} and {language} are codes of one language.",
            hint=hint,
        )


def _one_name(language: str) -> str:
    """Return one code for a language, whichever of its codes is used."""
    names = _in_use(language)
    return _SAME_AS.get(names[0], names[0]) if len(names) == 1 else language


def _in_use(language: str) -> tuple[str, ...]:
    """Return the code itself, or what took its place if it was withdrawn."""
    import langcodes

    if language in _SPLIT:
        return _SPLIT[language]
    standard = langcodes.standardize_tag(language)
    # X-MOD's own codes stay, and so do languages that are told apart by a region (swc, sw-CD).
    if language in _SAME_AS.values() or not re.fullmatch(r"[a-z]{2,3}", standard):
        return (language,)
    return (standard,)


def _describe(language: str, region: str) -> Language:
    import langcodes

    named = langcodes.Language.make(language=language)
    bcp47, name = language, named.language_name()
    if name.startswith("Unknown language"):
        # Private-use codes are registered without a name.
        name = f"language {language}"
    if _is_region(region) and region != NO_REGION:
        bcp47 = f"{language}-{region}"
        name = f"{name} ({langcodes.Language.make(territory=region).territory_name()})"
    return Language(code=f"{language}_{region}", bcp47=bcp47, name=name)


def _is_language(language: str) -> bool:
    import langcodes

    if language in _NOT_A_LANGUAGE:
        return False
    return bool(langcodes.Language.make(language=language).is_valid())


def _is_region(region: str) -> bool:
    import langcodes

    if region == NO_REGION:
        return True
    territory = langcodes.Language.make(language="en", territory=region)
    # ZZ and the private-use codes are registered without the name of a place.
    return bool(territory.is_valid()) and not territory.territory_name().startswith("Unknown")


def _likely_region(language: str) -> str:
    """Return the region where most speakers live, XX where nothing is known."""
    import langcodes

    likely = langcodes.Language.make(language=language).maximize().territory
    # US is also what a language without any statistics gets, and ZZ one without a country.
    return likely if likely and likely != "US" and _is_region(likely) else NO_REGION


def _hint(codes: Sequence[str]) -> str:
    if codes:
        return f"Did you mean {' or '.join(codes)}?"
    return (
        "Use an ISO 639 code in lower case, an underscore and a region of two capital letters, "
        "or XX for no region."
    )


def _near_malformed(code: str) -> list[str]:
    """Return the codes that a wrongly formed one most likely stands for."""
    subtags = [subtag for subtag in re.split(r"[-_.\s]+", code.strip()) if subtag]
    if not subtags or not all(subtag.isascii() and subtag.isalpha() for subtag in subtags):
        return []
    language = subtags[0].lower()
    region = next((s.upper() for s in subtags[1:] if len(s) == 2 and _is_region(s.upper())), None)
    if len(language) not in (2, 3):
        named = _language_named(" ".join(subtags))
        return [f"{named}_{_likely_region(named)}"] if named else []
    if not _is_language(language):
        return _near_language(language, region or NO_REGION)
    language = _in_use(language)[0]
    exact = f"{language}_{'_'.join(subtags[1:]).upper()}"
    if exact in _NO_REGION_EITHER:
        return [exact]
    if region is None:
        region = next(filter(None, map(_replaced_region, subtags[1:])), None)
    return [f"{language}_{region or _likely_region(language)}"]


def _replaced_region(region: str) -> str | None:
    """Return the two letters in use for a region written with three (PER) or with old ones (UK)."""
    from langcodes.data_dicts import TERRITORY_REPLACEMENTS

    replaced = TERRITORY_REPLACEMENTS.get(region.lower(), "")
    return replaced if len(replaced) == 2 and _is_region(replaced) else None


def _language_named(name: str) -> str | None:
    import langcodes

    try:
        found = langcodes.find(name).language
    except LookupError:
        return None
    return found if found and _is_language(found) else None


def _near_region(language: str, region: str) -> list[str]:
    replaced = _replaced_region(region)
    return [replaced] if replaced else list(dict.fromkeys([_likely_region(language), NO_REGION]))


def _near_language(language: str, region: str) -> list[str]:
    """Return at most two registered languages that differ from `language` by one slip of the hand.

    Those spoken in `region` come first, then swapped letters before missing, extra and wrong ones,
    then the languages with more speakers.
    """
    import langcodes

    standard = langcodes.standardize_tag(language)
    if standard != language and _FORM.fullmatch(f"{standard}_{NO_REGION}"):
        # The three-letter code of a language that has one of two letters (que for qu).
        return [f"{standard}_{region}"] if _is_region(region) else []
    ranked = []
    for slip, near in dict.fromkeys(_slips(language)):
        if not _is_language(near) or _in_use(near) != (near,):
            continue
        speakers = langcodes.Language.make(language=near).speaking_population()
        is_spoken_there = _likely_region(near) == region != NO_REGION
        if is_spoken_there or speakers:
            ranked.append((not is_spoken_there, slip, -speakers, near))
    shown = region if _is_region(region) else NO_REGION
    return [f"{near}_{shown}" for *_, near in sorted(ranked)[:2]]


def _slips(word: str) -> Iterator[tuple[int, str]]:
    """Yield every word one edit away from `word`, with a rank for how likely the edit is."""
    for i in range(len(word) - 1):
        yield 0, word[:i] + word[i + 1] + word[i] + word[i + 2 :]
    for i in range(len(word)):
        if len(word) == 3:
            yield 1, word[:i] + word[i + 1 :]
        for letter in ascii_lowercase:
            if len(word) == 2:
                yield 1, word[:i] + letter + word[i:]
            yield 2, word[:i] + letter + word[i + 1 :]
    if len(word) == 2:
        yield from ((1, word + letter) for letter in ascii_lowercase)
