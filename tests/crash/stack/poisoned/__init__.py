"""A folder for PYTHONPATH: what is in it changes every Python that starts with it."""
