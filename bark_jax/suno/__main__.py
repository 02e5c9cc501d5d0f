"""`python -m bark_jax.suno`: see `bark_jax.suno.cli`."""

import sys

from bark_jax.suno.cli import main

if __name__ == "__main__":
    sys.exit(main())
