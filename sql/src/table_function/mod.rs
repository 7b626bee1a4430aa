//! Table functions: `read_csv`, `read_json`, `read_parquet`, `generate_series`.
