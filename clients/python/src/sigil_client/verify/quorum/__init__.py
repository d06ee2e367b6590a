"""The witness registry, and that a committed record carries its quorum. Pure. Source: docs/spec/quorum.md."""
