"""The only place that decodes image and audio files."""
