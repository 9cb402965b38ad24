"""What a run takes in memory and time, told beforehand, and what to change when it is too much."""
