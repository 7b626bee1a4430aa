execute task engagement_silver.deduplicate;
