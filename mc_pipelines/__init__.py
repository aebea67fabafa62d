"""From landed events to signed numbers. Import the modules themselves; nothing is wired up here."""
