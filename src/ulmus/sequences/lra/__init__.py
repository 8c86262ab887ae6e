"""The tasks of Long Range Arena, read from their published layouts or made in them."""
