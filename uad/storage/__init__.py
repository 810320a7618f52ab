"""What uad keeps on disk: names and the places they have, the state folder, writes in one step."""
