"""Do errors and exit codes hold what the drawn tree says?"""

from __future__ import annotations

import re

from pomnit import errors


def drawn() -> dict[str, tuple[int, str]]:
    """Gives name -> (exit code, name of the base) as the docstring of errors.py draws them."""
    tree: dict[str, tuple[int, str]] = {}
    above: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        found = re.match(r"    ([│├└─ ]*)(\w+) +(\d+)   ", line)
        if found:
            depth = len(found.group(1)) // 4
            above[depth:] = [found.group(2)]
            tree[found.group(2)] = (int(found.group(3)), above[depth - 1] if depth else "Exception")
    return tree


def test_every_error_is_drawn_with_its_base_and_its_exit_code():
    classes = {n: c for n, c in vars(errors).items() if isinstance(c, type) and issubclass(c, Exception)}
    assert {n: (c.exit_code, c.__bases__[0].__name__) for n, c in classes.items()} == drawn()


def test_exit_codes_are_distinct_and_tell_nothing_else():
    codes = [code for code, _ in drawn().values()] + [errors.SOME_FAILED, errors.INTERRUPTED]
    assert len(codes) == len(set(codes)) > 12
    assert all(0 < code < 128 or code == errors.INTERRUPTED for code in codes)  # 128 and more is death by a signal
