"""The files of a sweep: where they lie, what is in them, and whether they are whole."""
