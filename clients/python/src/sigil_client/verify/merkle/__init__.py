"""The ledger's tree, its proofs, and signed checkpoints. Pure."""
