"""All that knows the inside of RecBole 1.2.1: what it needs on today's libraries, what is patched, its processes."""
