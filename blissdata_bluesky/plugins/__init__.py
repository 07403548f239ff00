"""Stream plugins of blissdata (entry-point group `blissdata`): for clients that know nothing of Bluesky."""
