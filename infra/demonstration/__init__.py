"""The demonstration: a scripted ward through every real part, watched from outside, with a verdict at the end."""
