"""Anybody's recordings as trials: a mapping says where files hold what, and in which units."""
