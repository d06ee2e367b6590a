"""Guards: what must be allowed before it happens. Each is complete before anything is served, and denies on any
error.
"""
