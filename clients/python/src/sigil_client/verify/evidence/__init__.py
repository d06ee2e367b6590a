"""Opening and verifying records, key walks, and evidence files, in named steps. Pure. Source:
docs/spec/verify.md.
"""
