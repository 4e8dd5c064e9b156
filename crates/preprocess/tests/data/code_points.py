"""The table of code points that the makers of goldens for tokenizers write: runs "first last class", see make_text_goldens.py."""

SCALARS = [c for c in range(0x110000) if not 0xD800 <= c <= 0xDFFF]


def kind(c, got, ids, vocab):
    """The class of the ids `got` of "a" + c + "b"; `ids` gives those of a text."""
    a, b = ids("a b")
    if got == ids("ab"):
        return "deleted"
    if got == [a, b]:
        return "space"
    if got == [vocab["[UNK]"]]:
        return "unknown"
    if got == [a, vocab.get(chr(c), vocab["[UNK]"]), b]:
        return "split"
    return " ".join(map(str, got))


def runs(kinds):
    """The lines of the table out of pairs (code point, class), in order."""
    found = []
    for c, kind in kinds:
        if found and found[-1][2] == kind and (found[-1][1] == c - 1 or (found[-1][1], c) == (0xD7FF, 0xE000)):
            found[-1][1] = c
        else:
            found.append([c, c, kind])
    return "".join(f"{first:04X} {last:04X} {kind}\n" for first, last, kind in found)
