"""The pages people read: static HTML drawn from the scoreboard and the metering report, and nothing computed here that those do not hold."""
