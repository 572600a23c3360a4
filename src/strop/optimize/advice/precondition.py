"""Before anything is optimized: does the model do what it did when it was trained (W1)."""

from __future__ import annotations

from strop.optimize.advice.recommendation import Recommendation
from strop.optimize.advice.situation import Situation


def advise_on_precondition(situation: Situation) -> list[Recommendation]:
    """Says what the model reaches as it came, and stops everything else where that is chance."""
    measured, resources = situation.measured, situation.resources
    if measured.near_chance:
        return [
            Recommendation(
                "precondition.near-chance",
                "do",
                "Repair preprocessing or labels first: nothing else is worth measuring.",
                f"the model as it came is no better than guessing: {measured.near_chance}",
                {"baseline": measured.baseline_words, "near_chance": measured.near_chance},
                f"strop inspect {resources.quoted}",
            )
        ]
    if measured.baseline_words:
        return [
            Recommendation(
                "precondition.baseline",
                "know",
                "The model works as it came: compare this figure with the one of its training.",
                measured.baseline_words,
                {"baseline": measured.baseline_words},
            )
        ]
    if resources.data is None:
        text = "Give typical inputs (--data), and labels where there are any: accuracy cannot be checked without."
    elif not resources.labelled:
        text = "Give labels (--labels): without any, only the agreement with the original can be held."
    else:
        text = "The accuracy of the model as it came is not known."
    return [Recommendation("precondition.unknown", "know", text, situation.why_not("baseline"))]
