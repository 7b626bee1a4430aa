-- Audit, published fact, aggregate: in this order, and the first that fails stops those after it.
refresh materialized view growth.daily cascade;
