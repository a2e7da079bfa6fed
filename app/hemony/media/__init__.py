"""The only place that decodes image and audio files."""

FULL_SCALE = 32_768  # of int16: samples of 16 bits come through as they are
