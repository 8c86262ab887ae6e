"""Files as they are read and written: beside their place and renamed, resumable, and never believed blindly."""
