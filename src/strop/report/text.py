"""Tables and sentences for a terminal, made from the JSON documents the commands write."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from strop.report.tables import add_row as _add
from strop.report.tables import new_table as _table

Document = Mapping[str, Any]
DASH = "-"


def number(value: object, digits: int = 3) -> str:
    """Returns a number with `digits` significant digits, a dash for None, anything else as text.

    Example:
        >>> number(1234.5), number(0.012345), number(None)
        ('1234', '0.0123', '-')
    """
    if value is None:
        return DASH
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return str(value)
    if isinstance(value, int) or abs(value) >= 10**digits:
        return f"{value:.0f}"
    return f"{value:.{digits}g}"


def yes_or_no(value: bool | None) -> str:
    """Returns the word, a dash where it is not known."""
    return DASH if value is None else "yes" if value else "no"


def interval(figure: Document | None, digits: int = 3) -> str:
    """Returns `1.23 (1.20 to 1.26)`; a dash where there is no figure.

    Example:
        >>> interval({"point": 1.234, "low": 1.2, "high": 1.26})
        '1.23 (1.2 to 1.26)'
    """
    if not figure:
        return DASH
    point, low, high = (number(figure[name], digits) for name in ("point", "low", "high"))
    return f"{point} ({low} to {high})"


def comparison_table(document: Document) -> Table:
    """Returns the table of `strop compare`; `comparison_notes` says what became of the engines that did not run."""
    columns = ("engine", "latency ms", "speed-up", "verdict", "relative L2", "first ms", "peak MB")
    title = f"{document['model']['name']}: against {document['baseline']}"
    table = _table(title, columns, left=(0, 3), unbroken=(0, 3))
    table.caption = (
        "latency: median of a request; first: of a fresh process, imports included; MB: of the whole process"
    )
    table.caption_justify = "left"
    for row in document["results"]:
        # Settings go below the name: a narrow terminal then breaks neither.
        engine = row["engine"].replace(":", ":\n", 1).replace(",", ",\n")
        if row["status"] != "ok":
            _add(table, engine, DASH, DASH, row["status"], DASH, DASH, DASH)
            continue
        agreement = row["agreement"]
        _add(
            table,
            engine,
            interval(row["latency_ms"]),
            "1" if row is document["results"][0] else interval(row["speedup"]),
            row["speedup"]["verdict"] if row["speedup"] else DASH,
            f"{agreement['relative_l2']:.1e}" if agreement else DASH,
            number(row["first_inference_ms"]),
            number(row["peak_memory_mb"]),
        )
    return table


def comparison_notes(document: Document) -> list[str]:
    """Returns a line for each engine that did not run: why, and what to try."""
    rows = [row for row in document["results"] if row["status"] != "ok"]
    return [f"{row['engine']}: {_why(row['error'])}; try: {row['error']['hint']}" for row in rows]


def before_after_table(document: Document) -> Table:
    """Returns the table of `strop optimize`: the baseline and the bundle, as measured in the confirmation."""
    before, after, accuracy = document["before"], document["after"], document["accuracy"]
    columns = ("", f"before: {document['baseline']}", f"after: {document['label']}")
    table = _table(f"{document['model']['name']}: confirmed on the saved bundle", columns, left=(0,))
    _add(table, "latency ms", interval(before["latency_ms"]), interval(after["latency_ms"]))
    _add(table, "speed-up", "1", interval(document["speedup"]))
    throughputs = (interval(side["throughput_per_second"]) for side in (before, after))
    _add(table, "throughput per second", *throughputs)
    first = document["first_inference_ms"] or {"before": None, "after": None}
    _add(table, "first inference ms", number(first["before"]), number(first["after"]))
    _add(table, "peak memory MB", number(before["peak_memory_mb"]), number(after["peak_memory_mb"]))
    if "before" in accuracy:
        figures = (interval(accuracy[side], 4) for side in ("before", "after"))
        _add(table, f"{accuracy['metric']} (n={accuracy['n']})", *figures)
    else:
        _add(table, f"same decision (n={accuracy['n']})", "1", interval(accuracy["agreeing"], 4))
    return table


def limits_table(document: Document) -> Table:
    """Returns the limits on latency, memory and throughput, and whether the bundle keeps them."""
    table = _table("limits, as confirmed", ("limit", "kept", "what was measured"), left=(0, 1, 2))
    for check in document["limits"]:
        kept = {True: "yes", False: "no", None: "cannot tell"}[check["met"]]
        _add(table, check["limit"]["words"], kept, check["words"].partition(": ")[2])
    return table


def replay_table(document: Document) -> Table:
    """Returns the figures of a replayed trial beside the old ones."""
    old, new = document["old"], document["new"]
    table = _table(f"{document['label']}: then and now", ("", "then", "now"), left=(0,))
    for name, words in (("latency_ms", "latency ms"), ("speedup", f"speed-up against {old.get('against')}")):
        if old.get(name) or new.get(name):
            _add(table, words, interval(old.get(name)), interval(new.get(name)))
    if "status" in new:
        _add(table, "status", str(old["status"]), str(new["status"]))
    return table


def folder_table(document: Document) -> Table:
    """Returns a row for each model of a folder: what it became, or why it failed."""
    table = _table(document["folder"], ("model", "became", "speed-up", "accuracy, or why it failed"), left=(0, 1, 3))
    for result in document["results"]:
        if result["status"] != "ok":
            _add(table, result["model"], "failed", DASH, _why(result["error"]))
            continue
        found = result["document"]
        label = found["label"] if found["gained"] else "as it was: nothing gained"
        _add(table, result["model"], label, interval(found["speedup"]), found["accuracy_words"])
    return table


def trials_table(trials: Sequence[Document]) -> Table:
    """Returns every trial with what became of it and why."""
    table = _table("trials", ("trial", "status", "why"), left=(0, 1, 2))
    for trial in trials:
        _add(table, trial["label"], trial["status"], trial["reason"])
    return table


def benchmark_table(document: Document) -> Table:
    """Returns the table of `strop benchmark`."""
    rows: dict[str, object] = {"settings": _pairs(document["settings"])}
    if "latency_ms" in document:
        rows["latency ms (median)"] = interval(document["latency_ms"])
    rows |= {f"{name} ms": number(value) for name, value in document.get("percentiles_ms", {}).items()}
    for name in ("throughput_per_second", "asked_per_second", "achieved_per_second"):
        value = document.get(name)
        if value is not None:
            rows[name.replace("_", " ")] = interval(value) if isinstance(value, Mapping) else number(value)
    for name in ("first_call_ms", "first_inference_ms", "peak_memory_mb", "steady_memory_mb"):
        if document.get(name) is not None:
            rows[name.replace("_", " ")] = number(document[name])
    for stage, value in document.get("first_inference_stages_ms", {}).items():
        rows[f"  {stage}"] = number(value)
    return pairs_table(f"{document['model']['name']} on {document['engine']}, {document['objective']}", rows)


def quantize_table(document: Document) -> Table:
    """Returns the table of `strop quantize`."""
    rows: dict[str, object] = {
        "written": document["output"],
        "MB before, after": f"{document['bytes_before'] / 1e6:.2f}, {document['bytes_after'] / 1e6:.2f}",
        "sanity": "passed" if document["sanity"]["ok"] else f"failed: {document['sanity']['reason']}",
    }
    agreement = document["agreement"]
    decisions = agreement["criterion"] == "decision"
    same = "same decision as the float model" if decisions else "outputs within 10 % of the float model's"
    rows[same] = f"{interval(agreement['agreeing'], 4)}, n={agreement['n']}"
    rows["relative L2 of the worst output"] = f"{number(agreement['relative_l2'])} ({agreement['worst']})"
    return pairs_table(f"{document['model']['name']}: INT8", rows)


def verify_table(document: Document) -> Table:
    """Returns the table of `strop verify`."""
    a, b = document["models"]
    if document["metric"] is None:
        agreement = document["agreement"]
        rows = {
            "same decision": interval(agreement["agreeing"], 4),
            "relative L2 of the worst output": f"{number(agreement['relative_l2'])} ({agreement['worst']})",
        }
        return pairs_table(f"{b} against {a}, {document['n']} samples", rows)
    rows = {
        f"{document['metric']} of {a}": interval(document["a"], 4),
        f"{document['metric']} of {b}": interval(document["b"], 4),
        "difference": interval(document["difference"], 4),
        "drop": f"{number(document['drop'])} (at most {number(document['bound'])} with 95 %)",
        "limit": f"{number(document['limit'])}: {document['verdict']}",
    }
    return pairs_table(f"{b} against {a}, {document['n']} samples", rows)


def flips_table(flips: Document, most: int = 10) -> Table:
    """Returns the samples whose prediction changed, the losses first."""
    shown = flips["rows"][:most]
    columns = list(dict.fromkeys(name for row in shown for name in row))
    title = "changed predictions" + (f", the first {most} of {flips['total']}" if flips["total"] > most else "")
    table = _table(title, [name.replace("_", " ") for name in columns], left=range(len(columns)))
    for row in shown:
        _add(
            table, *(number(row.get(name)) if isinstance(row.get(name), float) else _cut(row, name) for name in columns)
        )
    return table


def verify_notes(document: Document) -> list[str]:
    """Returns what else `strop verify` found, a line each: flips, the worst slice, how many samples would certify."""
    lines = [document["flips"]["words"]]
    apart = document["agreement"]
    if document["metric"] is not None:
        lines.append(
            f"outputs: relative L2 {number(apart['relative_l2'])} ({apart['worst']}), "
            f"{'same decision' if apart['criterion'] == 'decision' else 'close'} on {interval(apart['agreeing'], 4)} "
            f"of {apart['n']}"
        )
    for name in ("slices", "sample_plan"):
        if document.get(name):
            lines.append(document[name]["words"])
    if document.get("stopped_early"):
        lines.append("stopped early: these samples prove it")
    return lines


def _cut(row: Document, name: str) -> str:
    value = row.get(name)
    return DASH if value is None else str(value)[:60]


def inspect_tables(document: Document) -> list[Table]:
    """Returns the tables of `strop inspect`: the model, its operators, what to know."""
    facts: dict[str, object] = {
        "opset": f"{document['opset']} (written in {document['source_opset']})",
        "quantized": "yes" if document["is_quantized"] else "no",
        "parameters": f"{document['parameters']:,} ({document['bytes'] / 1e6:.2f} MB)",
        "multiply-adds": DASH if document["macs"] is None else f"{document['macs'] / 1e6:.1f} million",
    }
    for kind in ("inputs", "outputs"):
        for spec in document[kind]:
            shape = ", ".join("?" if size is None else str(size) for size in spec["shape"])
            facts[f"{kind[:-1]} {spec['name']}"] = f"{spec['dtype']} [{shape}]"
    operators = _table("operators", ("operator", "count"), left=(0,))
    for name, count in document["operators"].items():
        _add(operators, name, str(count))
    tables = [pairs_table(document["name"], facts), operators]
    if document["remarks"]:
        remarks = _table("to know", ("what", "where"), left=(0, 1))
        for remark in document["remarks"]:
            _add(remarks, remark["text"], ", ".join(remark["nodes"]))
        tables.append(remarks)
    return tables


def doctor_tables(document: Document) -> list[Table]:
    """Returns the tables of `strop doctor`: machine, engines, noise."""
    here = document["machine"]
    caches = ", ".join(f"{name} {size // 1024} KiB" for name, size in here["caches"].items())
    rows = {
        "CPU": here["cpu_name"],
        "usable cores": f"{here['cores']} of {here['logical_cores']} (quota: {here['quota_cores'] or 'none'})",
        "SMT, hybrid": f"{yes_or_no(here['smt'])}, {yes_or_no(here['hybrid'])}",
        "instruction set": f"{here['isa']} ({' '.join(here['flags'])})",
        "caches": caches or DASH,
        "memory": f"{here['memory_bytes'] / 2**30:.1f} GiB, limit {here['memory_limit_bytes'] / 2**30:.1f} GiB",
        "governor": number(here["governor"]),
        "system": f"{here['system']}, Python {here['python']}",
        "fingerprint": here["fingerprint"],
        "cannot be read here": ", ".join(here["unread"]) or "nothing",
        "cache folder": document["cache_directory"],
    }
    engines = _table("engines", ("engine", "here", "version", "knobs"), left=(0, 1, 2, 3))
    for engine in document["engines"]:
        here_or_why = "yes" if engine["available"] else f"no: {engine['why']}"
        _add(engines, engine["name"], here_or_why, engine["version"] or DASH, ", ".join(engine["knobs"]))
    tables = [pairs_table("machine", rows), engines]
    if document["attainable"]:
        tables.append(_rates_table(document["attainable"]))
    tables.append(_contention_table(document["contention"]))
    noise = document["noise"]
    if noise:
        verdicts = ", ".join(f"{count} {name}" for name, count in noise["verdicts"].items() if count)
        quiet = {
            "quiet enough to measure": "yes" if noise["quiet"] else "with care",
            "same work compared with itself": verdicts,
            "false alarms": interval(noise["false_alarm_rate"]),
            "swing of the speed": f"{noise['swing']:.2f} x (95th over 5th percentile)",
        }
        tables.append(pairs_table("noise", quiet | {f"advice {i}": text for i, text in enumerate(noise["advice"], 1)}))
    return tables


def _contention_table(found: Document) -> Table:
    rows: dict[str, object] = {
        "cores busy with other processes": number(found["others"], 2),
        "cores taken by the hypervisor": number(found["stolen"], 2),
        "own threads without a core": number(found["ready"], 2),
    }
    findings = {f"warning {index}": text for index, text in enumerate(found["findings"], 1)}
    return pairs_table(f"who wants the {found['cores']} cores, in {found['seconds']:.0f} s", rows | findings)


def _rates_table(attainable: Document) -> Table:
    rates = _table("one thread attains, in 1e9 a second", ("what", "with", "rate"), left=(0, 1))
    words = {"flops": "float32 operations", "int8": "int8 operations", "bandwidth": "bytes read"}
    for kind, what in words.items():
        for name, rate in attainable[kind].items():
            _add(rates, what, name if kind != "bandwidth" else f"from {name}", number(rate / 1e9))
    return rates


def cache_table(document: Document) -> Table:
    """Returns the table of `strop cache`: what is kept, how much of it, and how often it helped."""
    limit = document["limit_bytes"] / 2**20
    title = f"{document['folder']}: {number(document['bytes'] / 2**20)} of at most {limit:.0f} MiB"
    table = _table(title, ("kind", "entries", "MiB", "hits", "misses"), left=(0,))
    for row in document["kinds"]:
        counted = (str(row[name]) for name in ("hits", "misses"))
        _add(table, row["kind"], str(row["entries"]), number(row["bytes"] / 2**20), *counted)
    return table


def run_table(document: Document) -> Table:
    """Returns the outputs of `strop run`: shape, type and range of each."""
    table = _table("outputs", ("output", "type", "shape", "min", "max"), left=(0, 1, 2))
    for output in document["outputs"]:
        shape = ", ".join(map(str, output["shape"]))
        _add(table, output["name"], output["dtype"], f"[{shape}]", number(output["min"]), number(output["max"]))
    return table


def pairs_table(title: str, rows: Mapping[str, object]) -> Table:
    """Returns names and values, one pair a row."""
    table = Table(title=Text(title), title_justify="left", show_header=False)
    table.add_column("name", no_wrap=True)
    table.add_column("value", overflow="fold")
    for name, value in rows.items():
        _add(table, name, str(value))
    return table


def verdict_sentence(document: Document) -> str:
    """Returns the one sentence that a run of `strop optimize` comes to."""
    name, accuracy = document["model"]["name"], document["accuracy_words"]
    if not document["gained"]:
        return f"Nothing gained: {name} stays on {document['baseline']}, as fast and as accurate as before; {accuracy}."
    speedup = interval(document["speedup"])
    return f"{name} as {document['label']} is {speedup} times as fast as {document['baseline']}; {accuracy}."


def _why(error: Document) -> str:
    return " ".join(f"{error['what']} ({error['got']})".split()) if error["got"] else str(error["what"])


def _pairs(values: Document) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items())
