"""Whether a command may ask the parts at its settings' addresses, or would ask another home's.

Two homes on one machine share the default ports. Only the lock of a home's own supervisor says whose broker and store
listen there.
Holds: that look. Does not hold: what a site runs itself; that is asked wherever it is.
"""

from __future__ import annotations

from infra.services.home import PidFile, read_state
from warehouse.settings import Settings

LAKE = ("store",)
LAKE_AND_BROKER = ("kafka", "store")


def unreachable(settings: Settings, parts: tuple[str, ...] = LAKE) -> str:
    """Why those of `parts` that this home runs itself cannot be asked, and what to do; empty where they can."""
    own = {"kafka": settings.embedded_kafka, "store": settings.embedded_s3}
    needed = [name for name in parts if own[name]]
    if not needed:
        return ""
    if PidFile(settings).holder() is None:
        return f"nothing is up in {settings.home}; `wardstream up` starts it, --home names another folder"
    running = {part["name"] for part in read_state(settings).get("parts", [])}
    if absent := [name for name in needed if running and name not in running]:
        return (
            f"{' and '.join(absent)} was left out when {settings.home} was started with --parts; "
            "`wardstream down`, then `wardstream up`"
        )
    return ""
