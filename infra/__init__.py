"""How Wardstream is run: command line, services, planning, simulator. Knows every room below; none knows it."""
