"""A leaderboard as a folder of entries: each is checked and scored again, and a static site shows them."""
