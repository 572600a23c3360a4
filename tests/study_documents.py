"""Contents of studies, as `study_contents` gives them: one with everything, and what is left when parts are missing."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import numpy as np

MACHINE = {
    "cpu_name": "A CPU",
    "cores": 2,
    "logical_cores": 4,
    "isa": "x86-64-v4+vnni",
    "flags": ["avx2", "avx512_vnni"],
    "caches": {"L1d": 49152, "L2": 2097152},
    "memory_bytes": 2**34,
    "memory_limit_bytes": 2**33,
    "governor": None,
    "virtual": True,
    "system": "Linux",
    "python": "3.12.1",
    "unread": ["governor"],
    "fingerprint": "0123456789abcdef",
}
Contents = dict[str, Any]


def estimate(
    point: float, spread: float = 0.05, n: int = 200, level: float = 0.95, **more: object
) -> dict[str, object]:
    """Returns an estimate's JSON with its interval `spread` of the point to both sides."""
    ends = {"low": point * (1 - spread), "high": point * (1 + spread)}
    return {"point": point, **ends, "level": level, "n": n, "statistic": "median", **more}


def speedup(point: float, verdict: str = "faster", spread: float = 0.05) -> dict[str, object]:
    """Returns a speed-up's JSON."""
    return estimate(point, spread, 40, 0.99, verdict=verdict, margin=0.03)


def trial(
    key: str, engine: str, precision: str, threads: int | None, status: str, reason: str, **more: object
) -> dict[str, object]:
    """Returns a trial's JSON; threads None is the baseline."""
    settings = {} if threads is None else {"threads": threads}
    label = f"{engine} {precision}" + ("" if threads is None else f", threads {threads}")
    spec = {"key": key, "engine": engine, "precision": precision, "settings": settings, "batch": 1}
    return {"trial": spec, "label": label, "status": status, "reason": reason, "seconds": 3.2, **more}


def whole() -> Contents:
    """Returns a study in which everything was measured and OpenVINO in INT8 won."""
    generator = np.random.default_rng(0)
    samples = [
        {
            "key": "c3",
            "role": role,
            "kind": kind,
            "taken": 400,
            "seconds": (scale * generator.lognormal(0, 0.08, 400)).tolist(),
        }
        for kind, sides in (("latency", (0.004, 0.0016)), ("throughput", (0.003, 0.001)))
        for role, scale in zip(("before", "after"), sides, strict=True)
    ]
    side = {
        "point": 0.80,
        "low": 0.77,
        "high": 0.83,
        "level": 0.95,
        "n": 600,
        "metric": "top1",
        "higher_is_better": True,
    }
    confirmation = {
        "confirmed": True,
        "gained": True,
        "engine": "openvino",
        "precision": "int8",
        "label": "openvino int8, threads 2",
        "settings": {"engine": "openvino", "threads": 2, "cpu_pinning": True},
        "before": {"latency_ms": estimate(4.0), "throughput_per_second": estimate(333.0), "peak_memory_mb": 110.5},
        "after": {"latency_ms": estimate(1.6), "throughput_per_second": estimate(1000.0), "peak_memory_mb": 152.0},
        "speedup": speedup(2.5),
        "accuracy": {
            "before": side,
            "after": side | {"point": 0.795, "low": 0.765, "high": 0.825},
            "metric": "top1",
            "difference": {"point": -0.005, "low": -0.013, "high": 0.003, "level": 0.95, "n": 600},
            "drop": 0.005,
            "bound": 0.012,
            "limit": 0.01,
            "within": True,
            "certified": False,
            "needed_n": 2300,
            "n": 600,
        },
        "certified": False,
        "accuracy_words": "top1 0.8 -> 0.795, within limit, not certified (needs n = 2300)",
        "first_inference_ms": {"before": 75.0, "after": 573.0},
        "first_inference_stages_ms": {
            "before": {"import": 40.0, "read": 5.0, "compile": 20.0, "first_run": 10.0},
            "after": {"import": 73.0, "read": 0.0, "compile": 490.0, "first_run": 10.0},
        },
        "not_confirmed": [],
    }
    layers = [
        ("features/conv0", "Convolution", 0.5, 40.0, "arithmetic"),
        ("features/dw1", "GroupConvolution", 0.4, 55.0, "memory"),
        ("features/add2", "Add", 0.2, 70.0, "memory"),
        ("classifier", "FullyConnected", 0.1, None, None),
    ]
    facts = {
        "schema": "strop.optimize/1",
        "strop": "0.1.0",
        "command": "strop optimize net.onnx --data images --labels labels.csv --max-drop 1% -o net.strop",
        "model": {"name": "net", "sha256": "ab" * 32, "opset": 17},
        "data": {"name": "images", "sha256": "cd" * 16, "samples": 1200},
        "machine": MACHINE,
        "baseline": "onnxruntime with its defaults",
        "objective": "latency",
        "seed": 0,
        "plan": {
            "words": "plan: 5 trials; the machine is noisy (calls scatter by 26%): verdicts take longer",
            "shares": {"calibration": 300, "choosing": 300, "confirmation": 600, "overlap": False},
        },
        "confirmation": confirmation,
        "ablation": {
            "steps": [
                {"name": "engine", "words": "openvino", "alone": speedup(1.2), "added": speedup(1.2), "why_not": None},
                {"name": "precision", "words": "int8", "alone": speedup(1.7), "added": speedup(2.1), "why_not": None},
                {
                    "name": "settings",
                    "words": "threads 2",
                    "alone": None,
                    "added": None,
                    "why_not": "the default already",
                },
            ],
            "together": speedup(2.5),
            "interaction": 1.2,
            "words": "precision gained most",
        },
        "curve": {
            "points": [
                {
                    "engine": "openvino",
                    "precision": "int8",
                    "streams": 2,
                    "batch": 1,
                    "requests": requests,
                    "throughput_per_second": estimate(400.0 * requests**0.5),
                    "latency_ms": {"p50": 1.6 * requests**0.5, "p90": 2.0 * requests, "p99": None, "why": "too few"},
                }
                for requests in (1, 2, 4)
            ],
            "sweet_spot": 1,
            "limit": "p90 <= 5 ms",
            "words": "two requests at once keep the limit",
        },
        "layers": {
            "engine": "openvino",
            "threads": 2,
            "rows": [
                {"name": name, "kind": kind, "ms": ms, "share": ms / 1.2, "percent_of_limit": percent, "bound": bound}
                for name, kind, ms, percent, bound in layers
            ],
            "foreign": [],
            "words": "openvino's own profile.",
        },
        "slices": {
            "by": "class",
            "metric": "top1",
            "total": 14,
            "words": "tench lost most",
            "rows": [
                {"slice": "tench", "n": 60, "before": 0.75, "after": 0.5, "drop": 0.25, "low": 0.05, "high": 0.4},
                {"slice": "goldfish", "n": 60, "before": 0.75, "after": 0.75, "drop": 0.0, "low": -0.1, "high": 0.1},
                {"slice": "shark", "n": 4, "before": 0.5, "after": 0.75, "drop": -0.25, "low": None, "high": None},
            ],
        },
        "flips": {
            "n": 600,
            "total": 9,
            "words": "9 of 600 predictions changed: 6 for the worse, 3 for the better, 0 with no change in score",
            "rows": [
                {"sample": "a.png", "change": "lost", "target": 3, "before": 3, "after": 7, "confidence_before": 0.97},
                {"sample": "b.png", "change": "gained", "target": 1, "before": 7, "after": 1, "confidence_before": 0.4},
            ],
        },
    }
    trials = [
        trial("a1", "onnxruntime", "f32", None, "kept", "the baseline", latency_ms=estimate(4.0)),
        _raced("b2", "openvino", "f32", 2, "kept", "faster", 1.2, "onnxruntime f32"),
        _raced("d4", "openvino", "f32", 1, "dropped", "slower", 0.9, "openvino f32, threads 2"),
        _raced("e5", "onnxruntime", "f32", 1, "dropped", "cannot tell", 1.0, "openvino f32, threads 2", spread=0.4),
        _raced("c3", "openvino", "int8", 2, "kept", "faster", 2.1, "openvino f32, threads 2"),
        trial("f6", "native", "int8", 2, "unsupported", "no kernel for it"),
        trial("g7", "native", "int8", 1, "not tried", "the budget's share for the search is used up"),
    ]
    decisions = [
        {"words": "baseline top1 0.8", "made": "2026-01-01T00:00:00", "key": None, "command": None},
        {
            "words": "openvino int8, threads 2: kept, faster",
            "made": "2026-01-01T00:00:09",
            "key": "c3",
            "command": "strop replay net.study.db c3",
        },
    ]
    return deepcopy({"facts": facts, "trials": trials, "decisions": decisions, "samples": samples})


def _raced(
    key: str,
    engine: str,
    precision: str,
    threads: int,
    status: str,
    verdict: str,
    ratio: float,
    against: str,
    spread: float = 0.05,
) -> dict[str, object]:
    found = speedup(ratio, verdict, spread)
    reason = f"{verdict}: {ratio:.2f} x against {against}"
    return trial(
        key,
        engine,
        precision,
        threads,
        status,
        reason,
        latency_ms=estimate(4.0 / ratio),
        speedup=found,
        against=against,
    )


def as_written_today() -> Contents:
    """Returns the same study without what later versions add: no samples, no findings of afterwards."""
    contents = whole()
    for name in ("ablation", "curve", "layers", "slices", "flips"):
        del contents["facts"][name]
    del contents["facts"]["confirmation"]["first_inference_stages_ms"]
    contents["decisions"] = [one | {"key": None, "command": None} for one in contents["decisions"]]
    return contents | {"samples": []}


def nothing_gained() -> Contents:
    """Returns a study whose baseline was handed over: nothing else was faster."""
    contents = whole()
    facts, confirmation = contents["facts"], contents["facts"]["confirmation"]
    confirmation |= {
        "gained": False,
        "engine": "onnxruntime",
        "precision": "f32",
        "label": "onnxruntime f32",
        "speedup": {"point": 1.0, "low": 1.0, "high": 1.0, "verdict": "same"},
        "certified": True,
    }
    confirmation["after"] = confirmation["before"]
    confirmation["accuracy"] |= {"after": confirmation["accuracy"]["before"], "drop": 0.0, "bound": 0.005}
    confirmation["accuracy"]["difference"] |= {"point": 0.0, "low": -0.006, "high": 0.006}
    confirmation["first_inference_ms"]["after"] = 76.0
    confirmation["first_inference_stages_ms"]["after"] = confirmation["first_inference_stages_ms"]["before"]
    for name in ("ablation", "curve", "slices", "flips"):
        del facts[name]
    for before, after in zip(contents["samples"][::2], contents["samples"][1::2], strict=True):
        after["seconds"] = before["seconds"][::-1]
    contents["trials"] = [contents["trials"][0], contents["trials"][3] | {"against": "onnxruntime f32"}]
    contents["decisions"] = [
        {
            "words": "INT8 for onnxruntime dropped before it was timed: 14 % of the steps differ",
            "key": None,
            "command": None,
        }
    ]
    return contents


def unfinished(*, interrupted: bool) -> Contents:
    """Returns a study that did not reach its confirmation."""
    contents = as_written_today()
    del contents["facts"]["confirmation"]
    if interrupted:
        contents["facts"]["interrupted"] = True
        words = "interrupted: the best so far is written, not confirmed: openvino int8, threads 2 -> net.strop"
        contents["decisions"] = [*contents["decisions"], {"words": words, "key": None, "command": None}]
    return contents
