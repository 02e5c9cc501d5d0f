"""`python -m bark_jax` is `bark-jax`."""

import sys

from bark_jax.cli import main

sys.exit(main())
