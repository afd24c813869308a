"""`python -m rt_engine` is the `spikeloop` command."""

import sys

from rt_engine.cli import main

if __name__ == "__main__":
    sys.exit(main())
