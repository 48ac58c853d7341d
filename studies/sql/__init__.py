"""The study database: engines, tables, transactions, migrations, and Optuna's own rows."""
