"""The report: one offline HTML page, its tables, JSON and CSV; studies side by side."""
