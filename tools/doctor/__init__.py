"""What this machine can do for unions and containers, what is missing, and what to do about it."""
