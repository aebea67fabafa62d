"""What arrived after a month was locked, as lines of the next invoice. How a charge is rated stands in `rating`, what is locked in `closing`."""
