"""The marketplace: requests to connect, packets of sources, feedback with its actions, and the trail for the Ombuds."""
