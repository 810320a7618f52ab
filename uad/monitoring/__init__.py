"""What served models do over time: the score log and the drift test."""
