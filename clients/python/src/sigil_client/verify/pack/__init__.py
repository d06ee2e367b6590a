"""Evidence packs: the decisions of a span of time, and that none is left out. Source: docs/spec/pack.md."""
