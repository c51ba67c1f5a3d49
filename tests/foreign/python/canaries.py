"""Does a secret that a test uses show where it must not?"""

import base64

# Shorter ones could occur by chance.
SHORTEST = 8

_planted = set()


def secret(text):
    """Has the log of every server be searched for `text`; returns it."""
    if len(text) >= SHORTEST:
        _planted.add(text)
    return text


def seen_in(text):
    """How many of the secrets stand in `text`, as they are or in base64."""
    encoded = (base64.urlsafe_b64encode(known.encode()).decode().rstrip("=") for known in _planted)
    return sum(form in text for form in [*_planted, *encoded])
