"""How the page writes numbers: three significant digits, units, intervals, percentages, counts."""

from __future__ import annotations

from collections.abc import Sequence

from strop.report.reading import Figure

NOT_MEASURED = "not measured"
NARROW = "\N{NARROW NO-BREAK SPACE}"
TIMES = "\N{MULTIPLICATION SIGN}"
MINUS = "\N{MINUS SIGN}"


def significant(value: float, digits: int = 3) -> str:
    """Returns a number with `digits` significant digits, trailing zeros kept, thousands set off.

    Example:
        >>> [significant(value) for value in (0.01234, 2.8, 152.0, 12345.6, 0)]
        ['0.0123', '2.80', '152', '12,346', '0']
    """
    if value == 0:
        return "0"
    if abs(value) < 1e-6:
        return f"{value:.{digits - 1}e}"
    if float(f"{abs(value):.{digits}g}") >= 10 ** (digits - 1):
        return f"{value:,.0f}"
    return f"{value:#.{digits}g}".rstrip(".")


def signed(value: float, digits: int = 2) -> str:
    """Returns a number with `digits` decimals and its sign, a true minus; no sign for 0.

    Example:
        >>> signed(0.5), signed(-0.001)
        ('+0.50', '0.00')
    """
    text = f"{abs(value):.{digits}f}"
    if not text.strip("0."):
        return text
    return ("+" if value > 0 else MINUS) + text


def ratio(value: float) -> str:
    """Returns a ratio with its sign: `2.02x`, typeset."""
    return f"{value:.2f}{TIMES}" if abs(value) < 10 else f"{significant(value)}{TIMES}"


def ratio_interval(figure: Figure) -> str:
    """Returns `1.91 to 2.15` of a ratio."""
    low, high = (ratio(value).removesuffix(TIMES) for value in (figure.low, figure.high))
    return f"{low} to {high}"


def interval(figure: Figure, digits: int = 3) -> str:
    """Returns `1.91 to 2.15`."""
    return f"{significant(figure.low, digits)} to {significant(figure.high, digits)}"


def confidence(figure: Figure) -> str:
    """Returns `99 % interval`, only `interval` where the level is not known."""
    return f"{100 * figure.level:.3g}{NARROW}% interval" if figure.level is not None else "interval"


def percent(value: float, digits: int = 0) -> str:
    """Returns a fraction as a percentage.

    Example:
        >>> percent(0.8357, 2).replace(NARROW, " ")
        '83.57 %'
    """
    return f"{100 * value:.{digits}f}{NARROW}%"


def file_size(count: float) -> str:
    """Returns bytes in the unit that suits them.

    Example:
        >>> file_size(74400), file_size(4571867)
        ('74.4 kB', '4.57 MB')
    """
    return f"{significant(count / 1e6)} MB" if count >= 1e6 else f"{significant(count / 1e3)} kB"


def times_as(value: float) -> str:
    """Returns `2.02 times`; `twice` and its like hide how exact a figure is."""
    return f"{ratio(value).removesuffix(TIMES)} times"


def counted(n: int, noun: str, plural: str | None = None) -> str:
    """Returns `1 sample`, `2,300 samples`."""
    return f"{n:,} {noun if n == 1 else plural or noun + 's'}"


def listed(words: Sequence[str]) -> str:
    """Returns `a, b and c`."""
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else list(words))


def sentence(words: str) -> str:
    """Returns words as a sentence: a capital first, a full stop last."""
    words = words.strip()
    if not words:
        return ""
    return words[0].upper() + words[1:] + ("" if words[-1] in ".!?" else ".")
