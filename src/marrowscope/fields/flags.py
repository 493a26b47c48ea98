"""Why a field is out of the plain range."""

FLAGS = {
    "blurred": "out of focus: no edge on it is as sharp as a nucleus is",
    "over-stained": "stained so dense that nuclei and red cells are hard to tell apart",
    "empty": "nothing on it but background",
    "not a smear": "colours or shapes that no Giemsa-type smear has",
}
"""Each flag's code, and what it means."""
