"""Declared against real: what the contracts say beside what a broker and a catalog have. Plans first, then acts."""
