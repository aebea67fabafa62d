"""The preview of one tenant's invoice as JSON, CSV and PDF: pure functions from a rated invoice to bytes. No lake, no Dagster, no clock."""
