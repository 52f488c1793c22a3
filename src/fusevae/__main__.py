"""``python -m fusevae``, which torchrun uses."""

from __future__ import annotations

import sys

from fusevae.cli import main

if __name__ == "__main__":
    sys.exit(main())
