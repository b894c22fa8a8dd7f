"""Who acts: what lists, registers and the audit file call whoever calls a command.

The account that the process runs as, by the operating system. Variables (`USER`, `LOGNAME`) say what anybody sets.
"""

from __future__ import annotations

import os
import pwd


def caller() -> str:
    """The name of the account; `uid-<number>` where it has none, as in a container."""
    number = os.geteuid()
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return f"uid-{number}"
