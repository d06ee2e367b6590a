"""What a client offers beside checks: records, the audit, modules."""
