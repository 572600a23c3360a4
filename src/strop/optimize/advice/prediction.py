"""What 8 bits will bring, told before anything is quantized: from the CPU's rates and what of the model they reach."""

from __future__ import annotations


def predict_int8(mac_share: float | None, rate: float | None, *, busy_share: float = 1.0) -> float | None:
    """Returns the largest speed-up to expect of 8 bits, None where the shares or the rate are not known.

    mac_share: of the multiply-accumulates that 8 bits reach; rate: how many times as many 8-bit products as float
    products the CPU does in the same time; busy_share: of a request's time that is spent in operations at all.
    Amdahl's law: what stays takes as long as before, what is reached `rate` times less. Converting between the two
    costs extra, so a measured figure lies below it.

    Example:
        >>> round(predict_int8(0.9, 4.0), 2)
        3.08
    """
    if mac_share is None or rate is None or rate <= 0:
        return None
    reached = mac_share * busy_share
    return 1 / (1 - reached + reached / rate)
