"""8 bits: predicted from the CPU and the model, measured, held against the accuracy; then the next step in order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from strop.measure.estimate import Verdict
from strop.optimize.advice.commands import quantize_line, search_line, verify_line
from strop.optimize.advice.quantization_order import Leaf, Progress, next_in_order
from strop.optimize.advice.recommendation import Kind, Recommendation
from strop.optimize.advice.situation import Int8Figure, Situation, times

WORTH = 1.05
"""A predicted speed-up below this is not worth an accuracy to watch."""


@dataclass(frozen=True, slots=True)
class _Advice:
    """How a leaf is put into words."""

    code: str
    kind: Kind
    text: str


_ADVICE: Mapping[Leaf, _Advice] = {
    Leaf.ALREADY: _Advice("already", "know", "The model is quantized already; quantizing twice rounds twice."),
    Leaf.NOTHING: _Advice("nothing", "do not", "Do not quantize: 8 bits reach no operator with weights."),
    Leaf.NOT_WORTH_IT: _Advice("not-worth-it", "do not", "Do not quantize for speed: 8 bits are not faster here."),
    Leaf.COLLECT_DATA: _Advice(
        "collect-data",
        "do",
        "Collect some hundred typical inputs (no labels needed) to calibrate 8 bits with, and give them as --data.",
    ),
    Leaf.POST_TRAINING: _Advice(
        "post-training", "do", "Quantize after training: minutes, no training; it is kept only where accuracy holds."
    ),
    Leaf.KEEP: _Advice(
        "keep", "do", "Post-training quantization is enough: let the search confirm it on samples of its own."
    ),
    Leaf.MORE_SAMPLES: _Advice("more-samples", "do", "Accuracy was lost: calibrate with more samples first."),
    Leaf.OTHER_RANGES: _Advice(
        "other-ranges", "do", "Accuracy was lost: choose the ranges another way (mean squared error, or min-max)."
    ),
    Leaf.LAYERS_IN_FLOAT: _Advice(
        "layers-in-float", "do", "Accuracy was lost: keep the first, the last and the widest layers in float."
    ),
    Leaf.ACCURACY_CONTROL: _Advice(
        "accuracy-control",
        "do",
        "Accuracy was lost: return layers to float one by one until the limit holds, verifying each.",
    ),
    Leaf.TRAINING: _Advice(
        "training", "do", "Nothing after training holds the accuracy: train with quantization (below)."
    ),
    Leaf.STAY_FLOAT: _Advice(
        "stay-float",
        "do not",
        "Stay in float: every repair was tried, and without training again there is none left.",
    ),
}


def advise_on_quantization(situation: Situation) -> list[Recommendation]:
    """Returns the next step of the order, with the prediction beside the measurement."""
    return [recommend_next(situation, progress_of(situation))]


def recommend_next(situation: Situation, progress: Progress) -> Recommendation:
    """Returns the advice for how far quantization has come."""
    leaf = next_in_order(progress)
    how = _ADVICE[leaf]
    command, python = _means(situation, leaf, progress)
    return Recommendation(
        f"quantization.{how.code}",
        how.kind,
        how.text,
        _reason(situation, leaf, progress),
        _evidence(situation),
        command,
        python,
    )


def progress_of(situation: Situation) -> Progress:
    """Returns how far quantization has come by the checks alone."""
    model, resources, int8 = situation.model, situation.resources, situation.measured.int8
    return Progress(
        quantized=model.is_quantized,
        operators=model.int8_operators,
        pays=pays(int8),
        data=resources.data is not None,
        labelled=resources.labelled,
        training=resources.training,
        post_training="untried" if int8 is None or int8.accuracy is None else int8.accuracy,
        samples=int8.calibrated_on if int8 else 0,
        available=int8.available if int8 else 0,
    )


def pays(int8: Int8Figure | None) -> bool | None:
    """Whether 8 bits are faster: as measured, else as predicted, else None."""
    if int8 is None:
        return None
    if int8.speedup is not None and int8.speedup.verdict is not Verdict.CANNOT_TELL:
        return int8.speedup.verdict is Verdict.FASTER
    return None if int8.predicted is None else int8.predicted >= WORTH


def _reason(situation: Situation, leaf: Leaf, progress: Progress) -> str:
    model, int8 = situation.model, situation.measured.int8
    if leaf is Leaf.ALREADY:
        return "its activations carry QuantizeLinear and DequantizeLinear"
    if leaf is Leaf.NOTHING:
        return "no convolution or matrix product with constant float32 weights lies outside branches and loops"
    parts = []
    if model.int8_mac_share is not None:
        parts.append(
            f"8 bits reach {model.int8_operators} operators with {model.int8_mac_share:.0%} of all multiply-adds"
        )
    if int8 is not None and int8.rate is not None:
        parts.append(f"this CPU does {int8.rate:.1f} times as many products in 8 bits (measured)")
    if int8 is not None and int8.predicted is not None:
        parts.append(f"predicted before quantizing: at most {int8.predicted:.2f} x")
    if int8 is not None and int8.speedup is not None:
        on = f"{int8.calibrated_on} of your samples" if int8.calibrated_on else "random inputs, so for speed only"
        against = f" against float32 on {int8.against}" if int8.against else ""
        parts.append(f"measured on {int8.engine}{against}: {times(int8.speedup)} (calibrated on {on})")
    else:
        parts.append(f"speed {situation.why_not('int8')}")
    if int8 is not None and int8.speedup is not None and "int8" in situation.measured.not_measured:
        parts.append(f"{situation.measured.not_measured['int8']} (not measured)")
    if int8 is not None and int8.accuracy_words:
        parts.append(int8.accuracy_words)
    elif progress.post_training == "untried":
        parts.append("accuracy not measured")
    return "; ".join(parts)


def _evidence(situation: Situation) -> dict[str, object]:
    model, int8 = situation.model, situation.measured.int8
    found: dict[str, object] = {"operators": model.int8_operators, "mac_share": model.int8_mac_share}
    if int8 is not None:
        found |= {
            "engine": int8.engine,
            "rate": int8.rate,
            "predicted": int8.predicted,
            "measured": int8.speedup.to_json() if int8.speedup else None,
            "calibrated_on": int8.calibrated_on,
            "accuracy": int8.accuracy,
        }
    return found


def _means(situation: Situation, leaf: Leaf, progress: Progress) -> tuple[str | None, str | None]:
    """Returns the command and the Python line that do it, where there are such."""
    resources = situation.resources
    data = f'strop.quantize("{resources.model}", "{resources.data}", config=QuantizeConfig('
    if leaf in (Leaf.POST_TRAINING, Leaf.KEEP) and resources.data:
        return search_line(resources), None
    if leaf is Leaf.MORE_SAMPLES and resources.data:
        return quantize_line(resources, min(progress.available, 1000)), None
    if leaf is Leaf.OTHER_RANGES and resources.data:
        return None, f'{data}activations="mse"))'
    if leaf is Leaf.LAYERS_IN_FLOAT and resources.data:
        return None, f"{data}first_layer=False, last_layer=False))"
    if leaf is Leaf.ACCURACY_CONTROL and resources.data:
        return verify_line(resources, ".int8.onnx"), f'{data}ignored_names=("a node", "another")))'
    return None, None
