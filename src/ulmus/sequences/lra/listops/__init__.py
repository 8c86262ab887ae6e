"""ListOps: files of the published layout, and expressions made here."""
