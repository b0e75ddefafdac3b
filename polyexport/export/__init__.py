"""From a checkpoint to a proven model file. Needs the ``export`` extra; nothing outside this folder does."""
