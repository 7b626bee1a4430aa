-- Each view after those that it reads.
refresh materialized view engagement.daily_active_users cascade;
refresh materialized view engagement.monthly_active_users cascade;
refresh materialized view engagement.session_quality cascade;
refresh materialized view engagement.time_spent cascade;
refresh materialized view engagement.reach cascade;
