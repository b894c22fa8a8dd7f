"""What a person types. Plain functions taking `Settings`; `main` alone knows the command-line library."""
