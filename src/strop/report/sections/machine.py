"""The machine it was all measured on, and what else pins the figures down."""

from __future__ import annotations

from strop.report.reading import count, items, mapping, number, positive, words
from strop.report.record import Record

Pairs = list[tuple[str, str]]


def machine_rows(record: Record) -> Pairs:
    """Returns names and values of the machine; what the study does not say is left out."""
    here = mapping(record.facts.get("machine"))
    caches = ", ".join(
        f"{words(name)} {size / 1024:,.0f} KiB"
        for name, value in mapping(here.get("caches")).items()
        if (size := positive(value))
    )
    cores, logical = count(here.get("cores")), count(here.get("logical_cores"))
    memory, limit = positive(here.get("memory_bytes")), positive(here.get("memory_limit_bytes"))
    virtual = here.get("virtual")
    return _known(
        ("CPU", words(here.get("cpu_name"))),
        ("usable cores", f"{cores} of {logical}" if cores and logical else str(cores or "")),
        ("instruction set", words(here.get("isa"))),
        ("extensions", ", ".join(filter(None, map(words, items(here.get("flags")))))),
        ("caches", caches),
        ("memory", f"{memory / 2**30:.1f} GiB" if memory else ""),
        ("memory limit", f"{limit / 2**30:.1f} GiB" if limit and limit != memory else ""),
        ("virtual machine", {True: "yes", False: "no"}.get(virtual, "") if isinstance(virtual, bool) else ""),
        ("frequency governor", words(here.get("governor"))),
        ("system", words(here.get("system"))),
        ("Python", words(here.get("python"))),
        ("could not be read", ", ".join(filter(None, map(words, items(here.get("unread")))))),
        ("fingerprint", words(here.get("fingerprint"))),
    )


def run_rows(record: Record) -> Pairs:
    """Returns names and values of the run: model, data, how samples were divided, how long it took."""
    model, data = mapping(record.facts.get("model")), mapping(record.facts.get("data"))
    plan = mapping(record.facts.get("plan"))
    shares = mapping(plan.get("shares"))
    divided = ", ".join(
        f"{n:,} {what}"
        for name, what in (("calibration", "calibrate"), ("choosing", "choose"), ("confirmation", "confirm"))
        if (n := count(shares.get(name)))
    )
    seconds, samples = number(record.facts.get("seconds")), count(data.get("samples"))
    return _known(
        ("model", words(model.get("name"))),
        ("model, SHA-256", words(model.get("sha256"))),
        ("opset", words(model.get("opset"))),
        ("data", f"{words(data.get('name'))}{f', {samples:,} samples' if samples else ''}"),
        ("data, hash", words(data.get("sha256"))),
        ("samples", divided + (", the same ones: too few to divide" if shares.get("overlap") is True else "")),
        ("objective", words(record.facts.get("objective"))),
        ("before", words(record.facts.get("baseline"))),
        (
            "settings now",
            ", ".join(f"{words(k)} {_shown(v)}" for k, v in mapping(record.confirmation.get("settings")).items()),
        ),
        ("seed", words(record.facts.get("seed"))),
        ("last decision", record.decisions[-1].made[:16].replace("T", " ") if record.decisions else ""),
        ("took", f"{seconds:.0f} s" if seconds else ""),
        ("Strop", words(record.facts.get("strop"))),
    )


def _shown(value: object) -> str:
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else words(value)


def _known(*pairs: tuple[str, str]) -> Pairs:
    return [(name, value) for name, value in pairs if value]
