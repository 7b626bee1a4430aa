\echo 'The last ten days: who came, who came in the month'
select day, monthly_users, daily_users, stickiness || ' %' as stickiness
from engagement.monthly_active_users order by day desc limit 10;

\echo 'Sessions, without robots'
select day, sessions, outliers, past_midnight, average_seconds, average_actions
from engagement.session_quality order by day desc limit 10;

\echo 'Reach of each device, about'
select month, device, about_users from engagement.reach order by month, device;

\echo 'What is each view built from, and is it up to date?'
select f.view_name, string_agg(l.source, ', ' order by l.source) as built_from, f.is_up_to_date
from auric.freshness f
join auric.lineage l on l.schema_name = f.schema_name and l.view_name = f.view_name
where f.schema_name like 'engagement%'
group by f.schema_name, f.view_name, f.is_up_to_date order by f.schema_name desc, f.view_name;
