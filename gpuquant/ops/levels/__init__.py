"""8-bit levels among floating-point samples: recognized, ranked, and drawn in their order."""
