"""`python -m keras_rl_prob`, the same as the command `keras-rl-prob`."""

import sys

from keras_rl_prob.cli import main

if __name__ == "__main__":
    sys.exit(main())
