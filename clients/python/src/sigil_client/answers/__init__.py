"""What is made of replies: judgements of them, and decisions."""
