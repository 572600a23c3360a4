"""IR becomes the same machine code every time, in several threads at once, once."""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from strop.compiler import machine_code
from strop.compiler.emit import Module, constant
from strop.compiler.isa import ISAS, Isa, get_isa
from strop.compiler.machine_code import assembly, compile_objects, generate, object_key
from strop.compiler.object_cache import ObjectCache
from strop.errors import EngineError

GENERIC = get_isa("generic")


def text(name: str, number: float = 1, isa: Isa = GENERIC) -> str:
    module = Module(isa)
    f = module.function(name, ["ptr"])
    f.store(f.fma(*[f.load(isa.vector, f.arguments[0], 64 * i) for i in range(2)], constant(isa.vector, number)),
            f.arguments[0])  # fmt: skip
    f.ret()
    return module.text()


@pytest.mark.parametrize("isa", ISAS, ids=lambda isa: isa.key)
def test_every_table_gives_code_the_same_every_time(isa: Isa) -> None:
    ir = text("f", isa=isa)
    assert generate(ir, isa) == generate(ir, isa)
    words = {"avx512vnni": "%zmm", "avx512": "%zmm", "avx2": "vfmadd", "generic": "mulps", "neon": "fmla"}
    assert words[isa.key] in assembly(ir, isa)


@pytest.mark.parametrize("ir", ["define void @f( {", "define i64 @f() {\n  ret i32 0\n}", "nonsense"])
def test_text_that_is_no_ir_is_refused_in_the_words_of_llvm(ir: str) -> None:
    with pytest.raises(EngineError) as raised:
        generate(ir, GENERIC)
    assert raised.value.code == "engine.machine-code"
    assert raised.value.what == "LLVM refuses the code"
    assert "error" in str(raised.value.got)


def test_ir_that_breaks_the_rules_of_ssa_is_refused() -> None:
    lines = ["br i1 %c, label %a, label %b", "a:", "%x = add i64 1, 2", "br label %b", "b:", "ret i64 %x"]
    ir = "define i64 @f(i1 %c) {\n" + "\n".join(lines) + "\n}"
    with pytest.raises(EngineError) as raised:
        generate(ir, GENERIC)
    assert "does not dominate" in str(raised.value.got)


def test_threads_that_generate_at_once_get_what_one_alone_gets() -> None:
    irs = {f"f{i}": text(f"f{i}", i) for i in range(12)}
    alone = {symbol: generate(ir, GENERIC) for symbol, ir in irs.items()}
    together: list[dict[str, bytes]] = []
    threads = [
        threading.Thread(target=lambda: together.append({s: generate(ir, GENERIC) for s, ir in irs.items()}))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert together == [alone] * 4


def test_several_cores_share_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    irs = {f"f{i}": text(f"f{i}", i) for i in range(6)}
    used: set[str] = set()
    meet = threading.Barrier(3, timeout=60)

    def note(ir: str, isa: Isa) -> bytes:
        if threading.current_thread().name not in used:
            used.add(threading.current_thread().name)
            meet.wait()  # three have to be here at once
        return generate(ir, isa)

    monkeypatch.setattr(machine_code, "usable_cores", lambda: 3)
    monkeypatch.setattr(machine_code, "generate", note)
    assert list(compile_objects(irs, GENERIC)) == list(irs)
    assert len(used) == 3


def test_what_is_cached_is_not_generated_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    cache, irs = ObjectCache(tmp_path / "objects"), {"a": text("a"), "b": text("b")}
    with caplog.at_level(logging.INFO, "strop"):
        first = compile_objects(irs, GENERIC, cache)
        again = compile_objects({**irs, "c": text("c")}, GENERIC, cache)
    assert again["a"] == first["a"]
    assert [record.message.partition(": ")[2] for record in caplog.records] == ["0 hits, 2 misses", "2 hits, 1 misses"]


def test_a_key_stands_for_text_instruction_set_and_toolchain(monkeypatch: pytest.MonkeyPatch) -> None:
    keys = [object_key(text("a", number), isa) for number in (1, 2) for isa in ISAS]
    assert len(set(keys)) == len(keys)
    before = object_key("x", GENERIC)
    monkeypatch.setattr(machine_code, "toolchain", lambda: "another version")
    assert object_key("x", GENERIC) != before


def test_llvm_is_not_loaded_where_every_object_is_in_the_cache(tmp_path: Path) -> None:
    compile_objects({"a": text("a")}, GENERIC, ObjectCache(tmp_path))
    script = f"""
import sys
sys.modules["llvmlite"] = None
from pathlib import Path
from strop.compiler.isa import get_isa
from strop.compiler.machine_code import compile_objects
from strop.compiler.object_cache import ObjectCache
print(len(compile_objects({{"a": {text("a")!r}}}, get_isa("generic"), ObjectCache(Path({str(tmp_path)!r})))["a"]))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 0
