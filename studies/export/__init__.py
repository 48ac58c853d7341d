"""best.yaml: its writer, its reader, the expected result, the provenance."""
