"""Lets ``python -m cubie_dask.cli`` be the command."""

import sys

from cubie_dask.cli.app import main

# Worker processes import this module again under another name.
if __name__ == "__main__":
    sys.exit(main())
