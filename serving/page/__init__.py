"""The page that people see at `/`: static files, and what they ask for while they are shown."""
