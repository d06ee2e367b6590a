"""How calls are made: where to, with which token, until when, and which of them again."""
