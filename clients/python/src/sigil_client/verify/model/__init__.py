"""The trust model: how a check is decided, and the recomputing of a recorded decision. Pure. Source:
docs/spec/trust.md.
"""
