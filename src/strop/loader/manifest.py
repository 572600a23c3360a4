"""The manifest: what a bundle is and needs, as JSON. Its hash names the whole bundle, since it holds all others.

format       {"version", "reader"}: the format's version, and the smallest reader version that understands it
strop        the version of Strop that wrote it; created: an ISO timestamp
model        {"name", "sha256"}: the model's name, and the hash of model.onnx
engine       {"name", "settings"}: the engine it was measured with, and its settings, flat
needs        {"engine", "version", "isa"}: the engine to install and the version it was measured with; the ISA levels
             there is code for, of which the CPU must have one (empty: any CPU)
inputs       [{"name", "dtype", "shape"}], shape of numbers, symbols and nulls; outputs: the same
preprocess   how images become inputs, as `--preprocess` takes it, or null
tests        {"tolerance", "vectors": [{"inputs": {name: member}, "outputs": {name: member}}]}
native       whether machine code for every node is in the bundle, so that no engine is needed
specialized  left out, or [{"level", "shapes": {input: [numbers]}, "plan", "code", "weights"}]: machine code for some
             sizes of a model with free ones, by members; other sizes, and other CPUs, take the engine
hashes       SHA-256 of every other member
metadata     whatever the writer adds
"""

from __future__ import annotations

from collections.abc import Container, Iterable
from typing import Any, Final

from strop.loader.format import MODEL, Entry, damaged
from strop.loader.json_reader import read_json

Manifest = dict[str, Any]

SIZE_LIMIT: Final = 16 << 20

_OPTIONAL_TEXT: Final = (str, type(None))
_FIELDS: Final[dict[str, Any]] = {
    "format": {"version": int, "reader": int},
    "strop": str,
    "created": str,
    "model": {"name": str, "sha256": str, "quantized": bool},
    "engine": {"name": str, "settings": dict},
    "needs": {"engine": str, "version": str, "isa": [str]},
    "inputs": [{"name": str, "dtype": str, "shape": [(int, str, type(None))]}],
    "outputs": [{"name": str, "dtype": str, "shape": [(int, str, type(None))]}],
    "preprocess": _OPTIONAL_TEXT,
    "tests": {"tolerance": (int, float), "vectors": [{"inputs": dict, "outputs": dict}]},
    "native": bool,
    "hashes": dict,
    "metadata": dict,
}
_SPECIALIZED: Final[Any] = [{"level": str, "shapes": dict, "plan": str, "code": str, "weights": str}]


def dump_manifest(manifest: Manifest) -> bytes:
    """Returns the manifest as bytes, the same for the same content."""
    import json  # reading does without

    return json.dumps(manifest, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False).encode() + b"\n"


def parse_manifest(data: memoryview, entries: Iterable[Entry], path: object) -> Manifest:
    """Returns the manifest in `data`, its form checked, and its hashes compared with the file's table.

    Raises BundleError `bundle.damaged`.
    """
    if len(data) > SIZE_LIMIT:
        raise damaged(path, "its manifest is too large", got=f"{len(data)} bytes", expected=f"at most {SIZE_LIMIT}")
    try:
        manifest = read_json(data)
    except (ValueError, RecursionError) as error:  # ValueError: not UTF-8, not JSON, a number without end
        raise damaged(path, "its manifest is not JSON", got=error) from error
    _check(manifest, _FIELDS, "manifest", path)
    others = {entry.name: entry.sha256.hex() for entry in list(entries)[1:]}
    if manifest["hashes"] != others:
        raise damaged(path, "its manifest and its table name different members or hashes")
    if manifest["model"]["sha256"] != others.get(MODEL):
        raise damaged(path, f"its manifest does not name the hash of {MODEL}")
    if not 0 <= manifest["tests"]["tolerance"] <= 1:
        raise damaged(path, "the tolerance of its self-test is impossible", got=manifest["tests"]["tolerance"])
    for vector in manifest["tests"]["vectors"]:
        for kind in ("inputs", "outputs"):
            if set(vector[kind]) != {spec["name"] for spec in manifest[kind]}:
                raise damaged(path, f"a test vector has other {kind} than the model", got=", ".join(vector[kind]))
            for name, member in vector[kind].items():
                if not isinstance(member, str) or member not in others:
                    raise damaged(path, f"the test array of {name!r} is not there", got=member)
    _check_specialized(manifest, others, path)
    result: Manifest = manifest
    return result


def _check_specialized(manifest: Manifest, members: Container[str], path: object) -> None:
    """Completes and checks the field that bundles of earlier versions lack."""
    specialized = manifest.setdefault("specialized", [])
    _check(specialized, _SPECIALIZED, "manifest.specialized", path)
    names = [spec["name"] for spec in manifest["inputs"]]
    for piece in specialized:
        if sorted(piece["shapes"]) != sorted(names):
            raise damaged(path, "its code is for other inputs than the model's", got=", ".join(piece["shapes"]))
        for shape in piece["shapes"].values():
            _check(shape, [int], "manifest.specialized[].shapes", path)
        for kind in ("plan", "code", "weights"):
            if piece[kind] not in members:
                raise damaged(path, f"the {kind} for some sizes is not there", got=piece[kind])


def _check(value: object, form: Any, where: str, path: object) -> None:
    """Raises unless `value` has this form: a type or several, a list of one form, or fields that must be there."""
    if isinstance(form, dict):
        _expect(value, dict, where, path)
        for name, inner in form.items():
            if name not in value:  # type: ignore[operator]
                raise damaged(path, f"{where} lacks {name!r}")
            _check(value[name], inner, f"{where}.{name}", path)  # type: ignore[index]
    elif isinstance(form, list):
        _expect(value, list, where, path)
        for item in value:  # type: ignore[attr-defined]
            _check(item, form[0], f"{where}[]", path)
    else:
        _expect(value, form, where, path)


def _expect(value: object, kind: Any, where: str, path: object) -> None:
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise damaged(path, f"{where} is of the wrong type", got=type(value).__name__)
