"""How a sweep is cut into chunks, and what that costs."""
