"""The commands of `gfvad`: a file each, with main(argv), whose docstring is its --help."""
