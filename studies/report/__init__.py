"""The report: one offline HTML page with its tables, JSON and CSV; a comparison of studies."""
