"""``python -m apportion.cli``."""

from . import main

main()
