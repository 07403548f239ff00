"""Numbers of things in words."""


def counted(number: int, thing: str) -> str:
    """`1 run`, `2 runs`: a number of what is named in the singular."""
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def are(number: int) -> str:
    """The verb that goes with it."""
    return "is" if number == 1 else "are"
