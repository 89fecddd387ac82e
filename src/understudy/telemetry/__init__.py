"""What a process says about itself: structured log lines, with nothing private in them."""
