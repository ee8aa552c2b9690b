"""Chunks computed, in this process or by workers, whatever befalls them."""
