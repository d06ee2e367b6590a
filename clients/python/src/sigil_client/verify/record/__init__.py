"""Record bodies, their payloads, and what stands beside them. Pure."""
