"""What this machine is: usable cores, instruction sets, caches, memory; its fingerprint; the cache folder.

Does: counts the cores this process may really use (affinity mask and cgroup quota, not the host's count), and says
what it could not read. Does not: measure anything. Start reading at: `machine`.
"""

from __future__ import annotations

import functools
import hashlib
import json
import math
import os
import platform
import sys
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from strop.loader.cpu import cpu_flags, isa_level

_CGROUP = Path("/sys/fs/cgroup")
_CPUS = Path("/sys/devices/system/cpu")


@dataclass(frozen=True, slots=True)
class Machine:
    """This machine as it matters for inference. None: it could not be read here.

    cores: what this process may use; core_ids: which ones; caches: bytes by name ("L1d", "L2", "L3"), one instance;
    memory_limit_bytes: the smaller of the cgroup's limit and the memory; isa: the loader's level of this CPU.
    """

    cpu_name: str
    cores: int
    core_ids: tuple[int, ...]
    logical_cores: int
    physical_cores: int | None
    quota_cores: float | None
    smt: bool | None
    hybrid: bool | None
    numa_nodes: int | None
    isa: str
    flags: tuple[str, ...]
    caches: dict[str, int]
    memory_bytes: int
    memory_limit_bytes: int
    governor: str | None
    virtual: bool | None
    system: str
    python: str
    unread: tuple[str, ...]

    @property
    def fingerprint(self) -> str:
        """16 hexadecimal digits that change when results of another machine no longer apply."""
        fixed = (self.cpu_name, self.cores, self.flags, sorted(self.caches.items()), platform.machine())
        return hashlib.sha256(json.dumps(fixed).encode()).hexdigest()[:16]

    def to_json(self) -> dict[str, object]:
        """Returns every field and the fingerprint as a JSON object."""
        return {**asdict(self), "fingerprint": self.fingerprint}


@functools.cache
def machine() -> Machine:
    """Returns this machine, read once per process.

    Example:
        >>> machine().cores >= 1
        True
    """
    import psutil

    ids = usable_core_ids()
    flags = cpu_flags()
    memory = psutil.virtual_memory().total
    physical = psutil.cpu_count(logical=False)
    logical = psutil.cpu_count(logical=True) or len(ids)
    smt = None if physical is None else logical > physical
    hybrid = _is_hybrid()
    nodes = len(list(Path("/sys/devices/system/node").glob("node[0-9]*"))) or None
    caches = _caches()
    governor = _read(_CPUS / "cpu0/cpufreq/scaling_governor")
    read = {"physical_cores": physical, "hybrid": hybrid, "numa_nodes": nodes, "caches": caches or None}
    unread = tuple(name for name, value in {**read, "governor": governor}.items() if value is None)
    return Machine(
        cpu_name=_cpu_name(),
        cores=usable_cores(),
        core_ids=ids,
        logical_cores=logical,
        physical_cores=physical,
        quota_cores=quota_cores(),
        smt=smt,
        hybrid=hybrid,
        numa_nodes=nodes,
        isa=isa_level(),
        flags=tuple(sorted(flags & _RELEVANT_FLAGS)),
        caches=caches,
        memory_bytes=memory,
        memory_limit_bytes=min([memory, *_memory_limits()]),
        governor=governor,
        virtual="hypervisor" in flags if flags else None,
        system=f"{platform.system()} {platform.release()} {platform.machine()}",
        python=platform.python_version(),
        unread=unread,
    )


def usable_core_ids() -> tuple[int, ...]:
    """Returns the ids of the cores the affinity mask allows (all, where the system has no mask)."""
    if hasattr(os, "sched_getaffinity"):
        return tuple(sorted(os.sched_getaffinity(0)))
    return tuple(range(os.cpu_count() or 1))


def usable_cores() -> int:
    """Returns how many cores this process may use: the affinity mask, cut to the whole cores of the cgroup's quota.

    A quota of 1.5 cores gives 1: a second thread would be throttled for half of every period.
    """
    allowed = len(usable_core_ids())
    quota = quota_cores()
    return allowed if quota is None else max(1, min(allowed, math.floor(quota + 0.01)))


def quota_cores() -> float | None:
    """Returns the CPU quota of this process's cgroup and its parents in cores, None where there is none."""
    quotas = []
    for folder in _cgroup_folders("cpu"):
        text = _read(folder / "cpu.max")
        if text is not None:
            quota, _, period = text.partition(" ")
            if quota != "max":
                quotas.append(int(quota) / int(period or 100_000))
            continue
        quota_v1, period_v1 = _read(folder / "cpu.cfs_quota_us"), _read(folder / "cpu.cfs_period_us")
        if quota_v1 and period_v1 and int(quota_v1) > 0:
            quotas.append(int(quota_v1) / int(period_v1))
    return min(quotas, default=None)


def cache_directory() -> Path:
    """Returns the folder for caches: `STROP_CACHE_DIR`, else the user's cache folder. It may not exist yet."""
    named = os.environ.get("STROP_CACHE_DIR")
    if named:
        return Path(named)
    import platformdirs

    return Path(platformdirs.user_cache_dir("strop", appauthor=False))


_RELEVANT_FLAGS = frozenset(
    "sse4_2 avx avx2 fma f16c avx512f avx512bw avx512vl avx512dq avx512_vnni avx_vnni avx512_bf16 avx512_fp16 "
    "avx512_vbmi amx_tile amx_int8 amx_bf16 asimd asimddp asimdhp i8mm bf16 sve".split()
)


def _cgroup_folders(controller: str) -> Iterable[Path]:
    """Yields the folders of this process's cgroup, innermost first, up to the root (version 2, then 1)."""
    for line in (_read(Path("/proc/self/cgroup")) or "").splitlines():
        _, names, inside = [*line.split(":", 2), "", ""][:3]
        if names and controller not in names.split(","):
            continue
        root = _CGROUP / controller if names else _CGROUP
        place = root / inside.strip("/")
        yield place
        for parent in place.parents:
            if parent == _CGROUP.parent:
                break
            yield parent


def _memory_limits() -> Iterable[int]:
    for folder in _cgroup_folders("memory"):
        for name in ("memory.max", "memory.limit_in_bytes"):
            text = _read(folder / name)
            if text and text.isdigit():
                yield int(text)


def _is_hybrid() -> bool | None:
    """Whether cores differ in kind (performance and efficiency cores)."""
    if sys.platform != "linux":
        return None
    if Path("/sys/devices/cpu_atom").exists():
        return True
    capacities = {_read(path) for path in _CPUS.glob("cpu[0-9]*/cpu_capacity")}
    return len(capacities) > 1 if capacities else _CPUS.exists() and not Path("/sys/devices/cpu_core").exists()


def _caches() -> dict[str, int]:
    sizes: dict[str, int] = {}
    for folder in sorted((_CPUS / "cpu0/cache").glob("index*")):
        level, kind, size = (_read(folder / name) for name in ("level", "type", "size"))
        if level and kind and size and kind != "Instruction":
            units = {"K": 1024, "M": 1024**2}
            sizes[f"L{level}{'d' if kind == 'Data' else ''}"] = int(size.rstrip("KM")) * units.get(size[-1], 1)
    return sizes


def _cpu_name() -> str:
    for line in (_read(Path("/proc/cpuinfo")) or "").splitlines():
        if line.startswith(("model name", "Model")):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf8").strip()
    except (OSError, UnicodeDecodeError):
        return None
