"""The processes of one machine: embedded broker and store, their files, and the supervisor that runs them.

Does not hold: what happens to an event (pipelines), nor commands for people (infra.cli).
"""
