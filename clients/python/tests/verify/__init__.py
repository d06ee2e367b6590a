"""Verification in Python against the vectors that all implementations share, and against attacks."""
