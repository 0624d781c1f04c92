"""Simulators in processes of their own, also under another Python than ours."""
