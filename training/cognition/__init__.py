"""The default bundle's cognition: soft tokens and LoRA, learnt from what is true of generated people."""
