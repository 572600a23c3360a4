"""The ONNX project's node tests on the engine native; `python -m tests.conformance.onnx_backend` writes the counts.

A test is covered where all of its model runs as our machine code. What is not covered runs on ONNX Runtime, and must
then be right wherever ONNX Runtime alone is.
"""

from __future__ import annotations

import json
import warnings
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
from onnx import numpy_helper

from strop.engines.contract import Settings
from strop.engines.registry import get_engine
from strop.errors import StropError
from strop.model.load import load_model
from strop.model.model import Model
from strop.model.oracle import Unoptimized

COUNTS = Path(__file__).parents[2] / "docs" / "onnx_backend.json"

MUST_COVER = (
    "Abs Add And ArgMax ArgMin AveragePool BatchNormalization Ceil Celu Clip Concat Conv ConvTranspose Cos "
    "DepthToSpace Div Elu Equal Erf Exp Expand Flatten Floor GRU Gather GatherElements GatherND Gelu Gemm "
    "GlobalAveragePool GlobalMaxPool Greater GreaterOrEqual GroupNormalization HardSigmoid HardSwish Identity "
    "InstanceNormalization IsInf IsNaN LSTM LayerNormalization LeakyRelu Less LessOrEqual Log LogSoftmax "
    "LpNormalization MatMul Max MaxPool Mean Min Mish Mul Neg Not Or PRelu Pad Pow RMSNormalization RNN "
    "Reciprocal ReduceL1 ReduceL2 ReduceLogSum ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum "
    "ReduceSumSquare Relu Reshape Resize Round Selu Shape Shrink Sigmoid Sign Sin Size Slice Softmax Softplus "
    "Softsign SpaceToDepth Split Sqrt Squeeze Sub Sum Swish Tanh ThresholdedRelu Tile Transpose Trilu Unsqueeze "
    "Upsample Where Xor"
).split()

_CONSTANT_INPUTS = {
    "BatchNormalization": [1, 2, 3, 4],
    "Clip": [1, 2],
    "Conv": [1, 2],
    "ConvTranspose": [1, 2],
    "DequantizeLinear": [1, 2],
    "Dropout": [1, 2],
    "Expand": [1],
    "GRU": [1, 2, 3],
    "Gemm": [1, 2],
    "LSTM": [1, 2, 3, 7],
    "MatMul": [1],
    "Pad": [1, 2, 3],
    "PRelu": [1],
    "QLinearConv": [1, 2, 3, 4, 5, 6, 7, 8],
    "QuantizeLinear": [1, 2],
    "GroupNormalization": [1, 2],
    "InstanceNormalization": [1, 2],
    "LayerNormalization": [1, 2],
    "Pow": [1],
    "RMSNormalization": [1],
    **{f"Reduce{name}": [1] for name in "L1 L2 LogSum LogSumExp Max Mean Min Prod Sum SumSquare".split()},
    "RNN": [1, 2, 3],
    "Reshape": [1],
    "Resize": [1, 2, 3],
    "Slice": [1, 2, 3, 4],
    "Split": [1],
    "Squeeze": [1],
    "Tile": [1],
    "Trilu": [1],
    "Unsqueeze": [1],
    "Upsample": [1],
}
"""The inputs, by position, that real models hold as weights or parameters: here they become initializers."""

_IR_VERSION = 10
"""That every supported version of ONNX Runtime reads; the tests are written in onnx's newest."""

Status = Literal["passed", "failed", "not covered", "not supported"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a test: "not covered" is right on ONNX Runtime, "not supported" wrong or refused there as well."""

    name: str
    operator: str
    status: Status
    why: str = ""


def node_tests() -> list[Any]:
    """Returns the ONNX project's node tests; making them computes their expected outputs."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # the reference computes infinities on purpose
        from onnx.backend.test.loader import load_model_tests

        return list(load_model_tests(kind="node"))


def run_tests(tests: Iterable[Any]) -> list[Outcome]:
    """Returns what became of each test."""
    return [run_test(test) for test in tests]


def run_test(test: Any) -> Outcome:
    """Returns what became of one test, all of its data sets."""
    operator = test.model.graph.node[-1].op_type
    outcomes = [_run(test, operator, *data) for data in test.data_sets]
    order = ("failed", "not supported", "not covered", "passed")
    return min(outcomes, key=lambda outcome: order.index(outcome.status))


def _run(test: Any, operator: str, inputs: Sequence[Any], expected: Sequence[Any]) -> Outcome:
    proto, feeds = _with_constants(test.model, inputs)
    try:
        model = load_model(proto)
        assert all(isinstance(array, (np.ndarray, np.generic)) for array in [*feeds.values(), *expected]), "no tensor"
    except (StropError, AssertionError) as error:  # sequences and optionals are no tensors
        return Outcome(test.name, operator, "not supported", str(error).partition("\n")[0])
    wanted = dict(zip((spec.name for spec in model.outputs), map(np.asarray, expected), strict=False))
    try:
        compiled = get_engine("native").compile(model, Settings(threads=1))
        try:
            wrong = _difference(compiled(feeds), wanted, test)
            covered = compiled.native_share == 1  # type: ignore[attr-defined]
        finally:
            compiled.close()
    except StropError as error:
        wrong, covered = f"{error.code}: {error.what}; {error.got}", False
    if not wrong:
        return Outcome(test.name, operator, "passed" if covered else "not covered")
    if not covered and _plain_is_wrong(model, feeds, wanted, test):
        return Outcome(test.name, operator, "not supported", wrong)
    return Outcome(test.name, operator, "failed", wrong)


def _with_constants(proto: onnx.ModelProto, inputs: Sequence[Any]) -> tuple[onnx.ModelProto, dict[str, Any]]:
    """Returns a copy whose parameters are initializers, and what is left to be given, by name."""
    made = onnx.ModelProto()
    made.CopyFrom(proto)
    arrays = [np.asarray(array) if isinstance(array, np.generic) else array for array in inputs]
    feeds = dict(zip((value.name for value in proto.graph.input), arrays, strict=False))
    positions = {
        name
        for node in proto.graph.node
        for index in _CONSTANT_INPUTS.get(node.op_type, [])
        for name in node.input[index : index + 1]
    }
    first = {node.input[0] for node in proto.graph.node if node.input}
    for name in sorted(positions - first):
        if isinstance(feeds.get(name), np.ndarray):
            made.graph.initializer.append(numpy_helper.from_array(feeds.pop(name), name))
    kept = [value for value in made.graph.input if value.name in feeds]
    del made.graph.input[:]
    made.graph.input.extend(kept)
    made.ir_version = min(max(4, made.ir_version), _IR_VERSION)
    return made, feeds


def _difference(got: dict[str, np.ndarray], wanted: dict[str, np.ndarray], test: Any) -> str:
    """Returns how the outputs differ from those expected, "" where they do not."""
    for name, want in wanted.items():
        have = got[name]
        if (have.dtype, have.shape) != (want.dtype, want.shape):
            return f"{name} is {have.dtype} {have.shape}, not {want.dtype} {want.shape}"
        if want.dtype.kind in "fc":
            if not np.allclose(have, want, rtol=test.rtol, atol=test.atol, equal_nan=True):
                return f"{name} is {np.nanmax(np.abs(have - want)):.2g} off"
        elif not np.array_equal(have, want):
            return f"{name} differs"
    return ""


def _plain_is_wrong(model: Model, feeds: dict[str, Any], wanted: dict[str, np.ndarray], test: Any) -> bool:
    """Whether ONNX Runtime alone, nothing optimized, refuses the model or gives something else as well."""
    try:
        return bool(_difference(Unoptimized(model.to_proto())(feeds), wanted, test))
    except StropError:
        return True


def document(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Returns the counts, and which operators are covered by how many tests, as JSON."""
    counts = Counter(outcome.status for outcome in outcomes)
    covered = Counter(outcome.operator for outcome in outcomes if outcome.status == "passed")
    return {
        "onnx": onnx.__version__,
        "tests": len(outcomes),
        **{status.replace(" ", "_"): counts[status] for status in ("passed", "failed", "not covered", "not supported")},
        "covered_operators": dict(sorted(covered.items())),
    }


def main() -> None:
    """Runs every test, prints what failed and the counts, and writes them for the docs."""
    outcomes = run_tests(node_tests())
    for outcome in outcomes:
        if outcome.status == "failed":
            print(f"failed: {outcome.name} ({outcome.operator}): {outcome.why}")  # noqa: T201
    found = document(outcomes)
    print(json.dumps(found, indent=1))  # noqa: T201
    COUNTS.write_text(json.dumps(found, indent=1) + "\n", encoding="utf8")


if __name__ == "__main__":
    main()
