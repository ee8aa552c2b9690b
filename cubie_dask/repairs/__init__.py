"""What is done to finished stores: failed runs tried again, and points added."""
