"""Text from character scores, by greedy CTC decoding: `ctc:dictionary.txt`, or `ctc:metadata`.

At each step the best class; repetitions are merged, then blanks dropped. Class 0 is the blank, class i is the i-th
entry of the dictionary, and a last class beyond it the space: the convention of PaddleOCR, whose exported models carry
their dictionary in the metadata entry `character`, one entry a line.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from strop.errors import DataError
from strop.quality.contract import Outputs
from strop.quality.decoders.scores import first_output

METADATA_KEY = "character"


@dataclass(frozen=True, slots=True)
class Ctc:
    """Gives the text of one sample; `entries` is the dictionary without blank and added space, `source` its origin."""

    entries: tuple[str, ...]
    source: str

    def __call__(self, outputs: Outputs, inputs: Mapping[str, np.ndarray]) -> str | None:
        """Returns the text of the first output: [1, steps, classes], [steps, 1, classes] or [steps, classes]."""
        array = first_output(outputs)
        if array is None:
            return None
        if array.ndim == 3 and 1 in array.shape[:2]:
            array = array[0] if array.shape[0] == 1 else array[:, 0]
        if array.ndim != 2:
            raise DataError(
                "quality.decode",
                "the first output is no sequence of character scores",
                got=list(array.shape),
                expected="[1, steps, classes]",
                hint="use another decoder, such as file.py:function",
            )
        best = array.argmax(axis=1)
        starts = np.ones(len(best), dtype=bool)
        starts[1:] = best[1:] != best[:-1]
        return "".join(self._character(index, array.shape[1]) for index in best[starts & (best != 0)].tolist())

    def _character(self, index: int, classes: int) -> str:
        """Returns the text of a class; the last class is the space unless the dictionary fills it.

        Of a dictionary longer than the model's classes only the beginning applies, as in PaddleOCR's own small models.
        """
        if len(self.entries) < classes - 2:
            raise DataError(
                "quality.decode",
                "the dictionary is too short for the model",
                where=self.source,
                got=f"{len(self.entries)} entries",
                expected=f"{classes - 2} ({classes} classes without blank and space)",
                hint="give the dictionary the model was trained with, one entry a line",
            )
        if index == classes - 1 and len(self.entries) != classes - 1:
            return " "
        return self.entries[index - 1]


def ctc_from_file(path: Path) -> Ctc:
    """Returns the decoder for a dictionary file, UTF-8, one entry a line."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise DataError(
            "data.missing",
            "the dictionary cannot be read",
            where=str(path),
            got=error.strerror,
            hint="check the path after ctc:, or use ctc:metadata if the model carries its dictionary",
        ) from error
    except UnicodeDecodeError as error:
        raise DataError(
            "data.format", "the dictionary is not UTF-8 text", where=str(path), got=str(error), hint="save it as UTF-8"
        ) from error
    return Ctc(_entries(text), str(path))


def ctc_from_metadata(metadata: Mapping[str, str]) -> Ctc:
    """Returns the decoder for the dictionary in a model's metadata."""
    if METADATA_KEY not in metadata:
        raise DataError(
            "quality.decode",
            f"the model's metadata has no entry {METADATA_KEY!r}",
            got=", ".join(metadata) or "no metadata",
            hint="give the dictionary as a file: --decode ctc:dictionary.txt",
        )
    return Ctc(_entries(metadata[METADATA_KEY]), f"metadata {METADATA_KEY!r}")


def _entries(text: str) -> tuple[str, ...]:
    # Not splitlines(): it would also split at characters that are entries themselves, such as U+2028.
    return tuple(line.removesuffix("\r") for line in text.removesuffix("\n").split("\n"))
