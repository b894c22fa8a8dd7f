"""What happens to an event: read, decode, normalise, validate, deduplicate, decide, hand to the lake and to Kafka."""
