"""How a sweep is going: events, those who listen to them, and what a store tells of it."""
