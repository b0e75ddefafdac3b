"""Provider passports: one graph on two execution providers, compared tensor by tensor, without PyTorch."""
