"""The conformance suite that every engine passes, Strop's own and those of plug-ins.

Does: runs tiny models on an engine and says what it does otherwise than `strop.engines.contract` promises.
Does not: need pytest, real models or the network; measure speed.
Start reading at: `check_engine`.
"""

from __future__ import annotations

from strop.engines.contract import Engine
from strop.engines.registry import get_engine
from strop.testing.engine_calls import CALL_CHECKS
from strop.testing.engine_numbers import NUMBER_CHECKS
from strop.testing.engine_settings import SETTING_CHECKS
from strop.testing.engine_subject import Subject


def check_engine(engine: str | Engine) -> list[str]:
    """Returns the names of the checks that `engine` passed; raises AssertionError that lists all it did not.

    Args:
        engine: its name, or the engine itself. It must be installed.

    Example:
        >>> "outputs_are_the_callers_own" in check_engine("reference")
        True
    """
    subject = Subject(get_engine(engine) if isinstance(engine, str) else engine)
    passed: list[str] = []
    violations: list[str] = []
    try:
        for check in (*NUMBER_CHECKS, *CALL_CHECKS, *SETTING_CHECKS):
            name = check.__name__
            try:
                check(subject)
            except AssertionError as violation:
                violations.append(f"{name}: {violation}")
            except Exception as error:  # an engine may fail in any way; the list is to be whole
                violations.append(f"{name}: raised {type(error).__name__}: {error}")
            else:
                passed.append(name)
    finally:
        subject.close()
    if violations:
        listed = "\n".join(f"- {violation}" for violation in violations)
        raise AssertionError(
            f"the engine {subject.engine.name!r} breaks {len(violations)} of {len(violations) + len(passed)} "
            f"promises of strop.engines.contract:\n{listed}"
        )
    return passed
