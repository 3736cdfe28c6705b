"""Two studies side by side: how they differ, what each says of the arms that both have, and how far that compares."""
