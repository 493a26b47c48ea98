"""Check labelled cells: damaged images, copies, and crops that share pixels."""
