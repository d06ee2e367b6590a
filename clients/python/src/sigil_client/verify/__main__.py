"""`python -m sigil_client.verify FILE… --genesis HASH`."""

import sys

from .command import main

sys.exit(main())
