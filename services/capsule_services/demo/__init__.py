"""The story, played on a real deployment: every step acts over the wire and checks what came of it."""
