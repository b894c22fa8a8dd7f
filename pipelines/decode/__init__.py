"""From bytes to typed columns: one module a message format."""
