"""The key ring: which key was valid for which role at which position. Pure. Source: docs/spec/keys.md."""
