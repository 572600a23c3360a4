"""The word error rate: edits over words of the target, `wer`. Lower is better; words are what white space separates."""

from __future__ import annotations

from collections.abc import Sequence

from strop.quality.metrics.cer import Cer


class Wer(Cer):
    """Sums edits and the targets' words."""

    name = "wer"

    def units(self, text: str) -> Sequence[str]:
        """Returns what edits are counted in: words."""
        return text.split()
