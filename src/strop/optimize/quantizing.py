"""What `strop quantize` does: quantize, check, write, and say how far the outputs moved."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

from strop import __version__
from strop.engines.compile import compile_model
from strop.model.load import load_model
from strop.optimize.events import Event, Listener, nobody
from strop.quality.agreement import agreement
from strop.quality.data import open_data
from strop.quality.data_range import check_range
from strop.quality.split import evenly_spread
from strop.quantize.quantize import quantize_model
from strop.quantize.sanity import check_sanity

SCHEMA = "strop.quantize/1"
CHECKING_ENGINE = "onnxruntime"
COMPARED_SAMPLES = 200


def quantize_to_file(
    source: str,
    data: str,
    output: Path,
    *,
    preprocess: str | None = None,
    samples: int = 300,
    command: str = "",
    on_event: Listener = nobody,
) -> dict[str, Any]:
    """Returns the document `strop.quantize/1` after writing the INT8 model; a failed sanity check is a warning."""
    model = load_model(source)
    opened = open_data(data, inputs=model.inputs, preprocess=preprocess)
    on_event(Event("stage", f"quantize with {min(samples, len(opened))} samples"))
    quantized = quantize_model(
        model,
        opened,
        samples=samples,
        on_progress=lambda fraction: on_event(Event("progress", "quantize", fraction)),
    )
    quantized.model.save(output)
    on_event(Event("stage", "compare the outputs with the float model's"))
    verdict = check_sanity(model, quantized.model, opened)
    compared = evenly_spread(opened, COMPARED_SAMPLES)
    with (
        closing(compile_model(model, engine=CHECKING_ENGINE)) as before,
        closing(compile_model(quantized.model, engine=CHECKING_ENGINE)) as after,
    ):
        agreeing = agreement(before, after, compared)
    warnings = [*model.warnings, *quantized.report.warnings, *check_range(model, opened)]
    if not verdict.ok:
        warnings.append(f"the INT8 model fails its sanity check: {verdict.reason}")
    return {
        "schema": SCHEMA,
        "strop": __version__,
        "command": command,
        "model": {"name": model.name, "sha256": model.sha256, "opset": model.opset},
        "output": str(output),
        "bytes_before": model.path.stat().st_size if model.path else len(model.to_bytes()),
        "bytes_after": output.stat().st_size,
        "sanity": verdict.to_json(),
        "agreement": agreeing.to_json(),
        "report": quantized.report.to_json(),
        "warnings": warnings,
    }
