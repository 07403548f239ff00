"""`python -m blissdata_bluesky`: the command."""

from .cli import app

if __name__ == "__main__":
    app(prog_name="blissdata-bluesky")
