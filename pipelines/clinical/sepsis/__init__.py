"""The sepsis model: from hours of a stay to a score, a calibrated risk and what it rests on.

Holds: the variables, hours of stays as arrays, the features (one function for training and stream), the challenge's
utility, training, judging, export, scoring, and the page that tells a clinician of it.
Does not hold: the state of patients in the stream, alerts, and which model is in force.
"""
