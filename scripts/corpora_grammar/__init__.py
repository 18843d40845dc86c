"""Small grammars, one module per language, that write the project's sample corpora.

Every language's module offers one function, `sentence(dice)`, which draws one sentence. The
vocabulary lies in `words/`, grouped by what things are for (edible, wearable, a place to go to), so
that a sentence that is grammatical also makes sense. `written/` holds the sentences that were
written by hand.
"""
