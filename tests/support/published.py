"""Published rules of contamination by the words of their papers, in plain Python."""

from tests.support import overlap as naive

#: Tokens of the n-grams of each.
LENGTHS = {"gpt3": 13, "palm": 8, "llama2": 11, "llama3": 8}


def all_grams(documents):
    cut = [naive.tokens(document) for document in documents]
    return {n: {gram for tokens in cut for gram in naive.grams(tokens, n)} for n in (8, 11, 13)}


def contaminated(item, seen):
    """The rules that call an item so, by the n-grams of all documents together."""
    tokens = naive.tokens(item)

    def there(n):
        return [gram in seen[n] for gram in naive.grams(tokens, n)]

    def share(n):
        return len({i + k for i, hit in enumerate(there(n)) if hit for k in range(n)}) / max(1, len(tokens))

    eights = there(8)
    said = {
        "gpt3": any(there(13)),
        "palm": len(eights) > 0 and sum(eights) * 10 >= 7 * len(eights),
        "llama2": share(11) >= 0.8,
        "llama3": share(8) >= 0.5,
    }
    return {rule for rule, so in said.items() if so}


def anywhere(item, seen):
    """Tokens of an item in 8-grams that stand in training, and the most in a row that only has such."""
    grams = [gram in seen[8] for gram in naive.grams(naive.tokens(item), 8)]
    covered = {place + k for place, there in enumerate(grams) if there for k in range(8)}
    longest = max((len(run) for run in "".join("x" if there else " " for there in grams).split()), default=0)
    return len(covered), longest + 7 if longest else 0
