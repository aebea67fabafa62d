"""The pages people read: static HTML drawn from the scoreboard and the metering report; no figure is computed here."""
