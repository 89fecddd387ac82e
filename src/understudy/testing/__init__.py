"""What ships for the tests of those who build on Understudy."""
