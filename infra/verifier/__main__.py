"""`python -m infra.verifier`; the store's credentials come from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY."""

import os
import sys

from infra.verifier.verify import main

if __name__ == "__main__":
    names = {"key": "AWS_ACCESS_KEY_ID", "secret": "AWS_SECRET_ACCESS_KEY"}
    sys.exit(main(credentials={name: os.environ.get(variable, "") for name, variable in names.items()}))
