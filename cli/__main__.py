"""`python -m minilmm_cli`: how torchrun starts the command in several processes."""

import sys

from .main import main

sys.exit(main())
