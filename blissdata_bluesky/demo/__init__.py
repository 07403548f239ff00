"""The demo: real plans, published live, and read by blissdata and Tiled clients in a second process while they run."""
