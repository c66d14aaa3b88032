"""`python -m suite` is the command line too."""

import sys

from suite.cli.main import main

sys.exit(main())
