"""COSE_Sign1 messages: statements, attestations, receipts. Pure."""
