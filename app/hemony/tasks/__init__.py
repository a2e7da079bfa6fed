"""The LightningModules: what a training step is."""
