"""Numbers that look random, which the makers of goldens and the tests both draw."""


def noise(n, seed):
    """xorshift32, one byte a step."""
    out, x = bytearray(n), seed * 2654435761 % 2 ** 32 | 1
    for i in range(n):
        x ^= x << 13 & 0xFFFFFFFF
        x ^= x >> 17
        x ^= x << 5 & 0xFFFFFFFF
        out[i] = x >> 24
    return bytes(out)
