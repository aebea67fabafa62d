"""Rating: usage and a price book in, explained lines and an invoice out, in exact decimals.

Everything here is a pure function or a reader of declarations. No lake, no Dagster, no SQL, no wall clock, and no documents.
`invoice.rate` rates one charge, `invoice.rate_invoice` a tenant's period; the semantics stand in docs/price-book.md.
"""
