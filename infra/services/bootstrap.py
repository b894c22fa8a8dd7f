"""Create what the contracts declare, once, before the stream starts: `python -m infra.services.bootstrap`.

Does not hold: what is declared (warehouse/contracts) nor how it is applied (infra.planning.contracts).
"""

from __future__ import annotations

import sys

from warehouse.settings import Settings


def main() -> int:
    """0 when topics and tables are as declared, 1 with the reason on standard error otherwise."""
    from infra.planning.contracts import PlanningError, apply

    try:
        apply(Settings.from_environment())
    except PlanningError as error:
        print(error, file=sys.stderr)
        return 1
    except Exception as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
