"""`python -m lvmfast`: the same as the `lvmfast` command."""

from lvmfast.cli import main

main()
