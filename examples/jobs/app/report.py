"""Says what a nightly report would."""

print("1 report written", flush=True)
