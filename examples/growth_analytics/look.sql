\echo 'Which days passed the audit? One was held back for a day until the rest of a drop arrived.'
select event_date, announced, arrived, staged, paid, revenue, passed from growth_audit.days order by event_date;

\echo 'Growth by channel'
select channel, sum(visits) as visits, sum(signups) as signups, sum(purchases) as purchases, sum(revenue) as revenue
from growth.daily where level = 'day, channel' group by channel order by revenue desc;

\echo 'What did not get in, and why'
select _reason, count(distinct event_id) as events, min(_quarantined_at)::date as since
from growth_audit.quarantine group by _reason order by 2 desc;

\echo 'What was refreshed, and when'
select view_name, mode, row_count, duration_ms, published_at from auric.refreshes
where schema_name like 'growth%' order by published_at desc limit 6;
