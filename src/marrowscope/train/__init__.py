"""Training and export: the only part of marrowscope that needs torch and transformers."""
