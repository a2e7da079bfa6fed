"""`python -m hemony` is `hemony`."""

import sys

from hemony.cli import main

sys.exit(main())
