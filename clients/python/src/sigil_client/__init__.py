"""The client for Sigil: asks a server whether a principal may do something now. Anything but an allow is a deny."""
