"""From a month's usage to one invoice preview per tenant: the tables. What a charge costs is `rating`, how a preview looks `documents`."""
