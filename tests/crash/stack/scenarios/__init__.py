"""What is done to a site: one function a scenario, each named by its claim's subject.

Holds: the register of all scenarios. A scenario gets a site whose servers run, and a source of chance that its seed
replays; it gives back how the round ended, or raises, which is red.
"""
